package collect

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rebound/events"
	"rebound/internal/spec"
	"rebound/rtb"
)

// The normal forms and hashes of UID2, Google and Meta; the vectors are those of their
// documentation.
func TestNormalForms(t *testing.T) {
	f := func(col, value, country string, want ...string) {
		t.Helper()
		var got []string
		if strings.HasPrefix(col, "email") {
			got, _ = emailHashes(col, value)
		} else {
			got, _ = phoneHashes(col, value, country)
		}
		if len(got) != len(want) {
			t.Errorf("%s: got %v; want %v", value, got, want)
			return
		}
		for i := range want {
			if begin, end, _ := strings.Cut(want[i], "..."); !strings.HasPrefix(got[i], begin) || !strings.HasSuffix(got[i], end) {
				t.Errorf("%s: got %s; want %s", value, got[i], want[i])
			}
		}
	}
	f("email", " User@Example.com", "", "b4c9a289...5514")
	f("email_sha256", "tMmiiTI7IaAcPpQPFQ65uMVCWH8av9jw4cwf/F5HVRQ=", "", "b4c9a289...5514")
	f("email", "janesaoirse@gmail.com", "", "92ee2605...888f")
	f("email", "Jane.Saoirse@gmail.com", "", "58bad64a...", "92ee2605...888f")
	f("email", "jane.saoirse+shop@gmail.com", "", sha256Hex("jane.saoirse+shop@gmail.com"), "92ee2605...888f")
	f("email", "person@example.com", "", "542d2401...3345")
	f("phone", "+12345678901", "", "10e6f0b4...b9ee", "254aa248...74c4")
	f("phone", "(234) 567-8901", "US", "10e6f0b4...b9ee", "254aa248...74c4")
	f("phone", "001 234 567 8901", "", "10e6f0b4...b9ee", "254aa248...74c4")
	f("phone", "030 123456", "DE", sha256Hex("+4930123456"), sha256Hex("4930123456"))
	f("phone", "06 1234567", "IT", sha256Hex("+39061234567"), sha256Hex("39061234567"))
	f("phone", "030 123456", "")
	f("phone", "no number", "DE")
	f("email", "not an address", "")
	f("email_sha256", "d41d8cd98f00b204e9800998ecf8427e", "")
}

// listWorld runs jobs against a log that is a slice.
type listWorld struct {
	*Lists
	mu     sync.Mutex
	facts  []events.Fact
	linked map[rtb.Key]rtb.Key
	busy   int // appends that fail for lack of capacity
}

var errBusyLog = fmt.Errorf("busy")

func newListWorld(t *testing.T) *listWorld {
	w := &listWorld{linked: map[rtb.Key]rtb.Key{}}
	w.Lists = NewLists(ListOptions{
		Append: func(_ context.Context, facts ...events.Fact) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.busy > 0 {
				w.busy--
				return errBusyLog
			}
			w.facts = append(w.facts, facts...)
			return nil
		},
		Busy:    func(err error) (time.Duration, bool) { return time.Millisecond, err == errBusyLog },
		Resolve: func(k rtb.Key) (rtb.Key, bool) { v, ok := w.linked[k]; return v, ok },
		Reach:   func(v rtb.Key) (bool, bool) { return true, v[0]%2 == 0 },
		State:   func(string, string) (ListInfo, bool) { return ListInfo{}, false },
		Keyring: &rtb.Keyring{}, Random: zeros{}, Now: func() time.Time { return testNow },
	})
	t.Cleanup(w.Close)
	return w
}

// zeros is a source of randomness that counts.
type zeros struct{}

var zeroCount byte

func (zeros) Read(b []byte) (int, error) {
	zeroCount++
	for i := range b {
		b[i] = zeroCount
	}
	return len(b), nil
}

// upload runs one job to its end.
func (w *listWorld) upload(t *testing.T, mode, body string) JobReport {
	t.Helper()
	j, err := w.start(ListInfo{List: "vip"}, mode, []byte(body), &rowReader{keyring: w.o.Keyring, advertiser: "shop", country: "DE"})
	if err != nil {
		t.Fatal(err)
	}
	w.wg.Wait()
	r, ok := w.report("shop", j.Job)
	if !ok {
		t.Fatal("the job is unknown")
	}
	if _, ok := w.report("other", j.Job); ok {
		t.Error("another advertiser sees the job")
	}
	return r
}

func TestJobReport(t *testing.T) {
	w := newListWorld(t)
	anna := w.o.Keyring.Key(rtb.IDEmail, "shop", []byte(sha256Hex("anna@example.com")))
	ben := w.o.Keyring.Key(rtb.IDEmail, "shop", []byte(sha256Hex("ben@example.com")))
	w.linked[anna], w.linked[ben] = rtb.Key{2}, rtb.Key{1}
	w.busy = 2
	body := "\xef\xbb\xbfEmail_SHA256, phone, ifa, trait.tier\n" +
		sha256Hex("anna@example.com") + ",,,gold\n" +
		strings.ToUpper(sha256Hex("ben@example.com")) + ",030 123456,,\n" +
		"d41d8cd98f00b204e9800998ecf8427e,,,tin\n" +
		",,,gold\n" +
		",12,,\n" +
		",,11111111-2222-3333-4444-555555555555,\n" +
		"a,b,c,d,e\n" +
		sha256Hex("carl@example.com") + "\n"
	r := w.upload(t, "append", body)
	if r.State != "done" || r.Rows != 8 || r.Accepted != 4 {
		t.Fatalf("got %+v; want 8 rows, 4 of them accepted", r)
	}
	if r.Matched.Any != 2 || r.Matched.HashGraph != 2 || r.MatchRatePct != 50 || r.BiddablePct != 50 {
		t.Errorf("got %+v, %v, %v; want two known, of whom one is biddable, and a device", r.Matched, r.MatchRatePct, r.BiddablePct)
	}
	want := []LineError{
		{Line: 4, Col: "email_sha256", Why: "md5 (32 hex): only sha256", code: "not_sha256"},
		{Line: 5, Why: "the row has no identifier", code: "empty"},
		{Line: 6, Col: "phone", Why: "want a number with + and country code, or a national one with a country", code: "bad_phone"},
		{Line: 8, Why: "got 5 columns; want the 4 of the header", code: "bad_csv"},
	}
	if !slices.Equal(r.ErrorLines, want) {
		t.Errorf("got %+v; want %+v", r.ErrorLines, want)
	}
	var modes []string
	for _, f := range w.facts {
		modes = append(modes, f.List.Mode)
	}
	if got := strings.Join(modes, " "); got != "begin row row row row commit" {
		t.Errorf("got facts %s", got)
	}
	if f := w.facts[1]; len(f.Keys) != 1 || f.Keys[0].Key != anna || f.List.Traits["tier"] != "gold" || !f.Visitor.IsZero() {
		t.Errorf("first row: %+v", f)
	}
	if f := w.facts[2]; len(f.Keys) != 3 { // the phone number has two hashes
		t.Errorf("second row: got %d keys; want an address and two forms of a phone number", len(f.Keys))
	}
	if f := w.facts[3]; f.Visitor != w.o.Keyring.Key(rtb.IDVisitor, "", []byte("ifa::11111111-2222-3333-4444-555555555555")) {
		t.Errorf("the device's row: got visitor %v; want the one that a server event derives", f.Visitor)
	}
	text, _ := json.Marshal(w.facts)
	if strings.Contains(string(text), sha256Hex("anna@example.com")) {
		t.Error("the facts hold a hash that others can compare")
	}
}

func TestJobFormats(t *testing.T) {
	w := newListWorld(t)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	fmt.Fprintf(z, "{\"email\":\"anna@example.com\",\"trait.score\":12}\n\nnonsense\n{\"e-mail\":\"x\"}\n{\"uid\":\"crm-1\"}\n")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	r := w.upload(t, "replace", packed.String())
	if r.State != "done" || r.Rows != 4 || r.Accepted != 2 || r.Invalid["bad_json"] != 1 || r.Invalid["unknown_column"] != 1 {
		t.Errorf("got %+v", r)
	}
	if w.facts[0].List.Action != "replace" || w.facts[1].List.Traits["score"] != "12" {
		t.Errorf("got %+v, %+v", w.facts[0].List, w.facts[1].List)
	}
	if f := w.facts[2]; f.Visitor.IsZero() || f.Keys[0].Key != f.Visitor {
		t.Errorf("our own id: got %+v", f)
	}
	for _, body := range []string{"", "name,address\nx,y\n", "\x1f\x8bnonsense"} {
		r := w.upload(t, "replace", body)
		if r.State != "failed" || r.Why == "" {
			t.Errorf("%q: got %+v; want a failure", body, r)
		}
		if last := w.facts[len(w.facts)-1]; last.List.Mode != events.ListAbort {
			t.Errorf("%q: the last fact is %s; want abort, so that the old rows stay", body, last.List.Mode)
		}
	}
}

func TestClearTextNeedsEncryption(t *testing.T) {
	r := &rowReader{keyring: &rtb.Keyring{}, advertiser: "shop", insecure: true}
	var errs []LineError
	_, ok := r.person(map[string]string{"email": "anna@example.com"}, func(e LineError) { errs = append(errs, e) })
	if ok || len(errs) != 1 || errs[0].code != "insecure" {
		t.Errorf("got %v, %v; want the row refused", ok, errs)
	}
	if _, ok = r.person(map[string]string{"email_sha256": sha256Hex("a")}, func(e LineError) { t.Error(e) }); !ok {
		t.Error("a hash was refused")
	}
}

func TestListSettings(t *testing.T) {
	f := func(s ListSettings, want string) {
		t.Helper()
		_, err := s.check(spec.ParseDuration)
		if got := fmt.Sprint(err); !strings.HasPrefix(got, want) {
			t.Errorf("%+v: got %s; want %s", s, got, want)
		}
	}
	f(ListSettings{Consent: "granted"}, "<nil>")
	f(ListSettings{Consent: "granted", TTL: "30d", Norm: "uid2", Purpose: "target"}, "<nil>")
	f(ListSettings{}, "consent")
	f(ListSettings{Purpose: "suppress"}, "<nil>") // nobody is shown an ad by it
	f(ListSettings{Consent: "granted", Norm: "md5"}, "norm")
	f(ListSettings{Consent: "granted", Purpose: "sell"}, "purpose")
	f(ListSettings{Consent: "granted", TTL: "541d"}, "ttl")
}

func TestExport(t *testing.T) {
	k := &rtb.Keyring{}
	in := map[rtb.Key]bool{k.Key(rtb.IDEmail, "shop", []byte(sha256Hex("anna@example.com"))): true, k.Key(rtb.IDVisitor, "", []byte("crm-1")): true}
	x := &Exporter{Keyring: k, Advertiser: "shop", Country: "US", Resolve: func(k rtb.Key) (rtb.Key, bool) { return k, true }, In: func(v rtb.Key) bool { return in[v] }}
	body := []byte("email,phone,uid\nAnna@example.com,(234) 567-8901,\nben@example.com,,\n,234 567 8901,crm-1\n,,crm-1\n")
	for format, want := range map[string]string{
		"meta":   "email,phone\n" + sha256Hex("anna@example.com") + "," + sha256Hex("12345678901") + "\n," + sha256Hex("12345678901") + "\n",
		"google": "Email,Phone\n" + sha256Hex("anna@example.com") + "," + sha256Hex("+12345678901") + "\n," + sha256Hex("+12345678901") + "\n",
	} {
		var out bytes.Buffer
		rows, written, err := x.Write(&out, format, body, func(e LineError) { t.Error(e) })
		if err != nil || rows != 4 || written != 2 || out.String() != want {
			t.Errorf("%s: %d rows, %d written, %v:\n%s\nwant\n%s", format, rows, written, err, out.String(), want)
		}
	}
}

func FuzzEachRow(f *testing.F) {
	f.Add([]byte("email,trait.x\na@b.example,1\n"))
	f.Add([]byte("{\"email_sha256\":1}\n{}\n"))
	f.Add([]byte("phone\n\"+49 30 \n1\"\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := &rowReader{keyring: &rtb.Keyring{}, advertiser: "shop", country: "DE"}
		_ = eachRow(body, func(line int, row map[string]string) error {
			if line < 1 {
				t.Fatalf("line %d", line)
			}
			p, ok := r.person(row, func(LineError) {})
			if ok != (len(p.keys) > 0) {
				t.Fatal("a person without an identifier")
			}
			return nil
		}, func(LineError) {})
	})
}
