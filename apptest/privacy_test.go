package apptest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"rebound/internal/conformance"
)

// TestOptOut opts a browser out: no bid within a second, also after a kill; its data and
// cookie are gone; opting in begins with a new id.
func TestOptOut(t *testing.T) {
	b := startBidder(t)
	eve := b.browser()
	page := "a=shop&e=view_item&id=SKU1&gdpr=0&u=" + url.QueryEscape("https://shop.example/p/SKU1")
	uid := eve.pixel(page)
	b.awaitBid(uid)
	if rs, body := call(t, eve.c, http.MethodGet, "http://"+b.Edge+"/v1/optout", "", nil); rs.StatusCode != 200 || !strings.Contains(string(body), "Opt out") {
		t.Fatalf("got %d %.200s; want the page with a button", rs.StatusCode, body)
	}
	rs, body := call(t, eve.c, http.MethodPost, "http://"+b.Edge+"/v1/optout", "application/x-www-form-urlencoded", nil)
	if rs.StatusCode != http.StatusOK || !strings.Contains(string(body), "has opted out") {
		t.Fatalf("got %d %.200s; want to be led back to the page, which confirms it", rs.StatusCode, body)
	}
	status, _ := b.ask("demo", request("at-once", uid))
	if status != http.StatusNoContent {
		t.Errorf("got %d right after the opt-out; want 204", status)
	}
	if got := eve.id(); got != "" {
		t.Errorf("got visitor cookie %q after the opt-out; want none", got)
	}
	if got := eve.pixel(page); got != "" {
		t.Errorf("got a new visitor id %q in spite of the opt-out", got)
	}
	b.kill()
	b.start()
	if status, _ := b.ask("demo", request("after-kill", uid)); status != http.StatusNoContent {
		t.Errorf("got %d after a kill; want 204", status)
	}
	if n := b.metric("rebound_bidder_nobids_total", "exchange", "demo", "reason", "privacy_opted_out"); n < 1 {
		t.Errorf("privacy_opted_out: got %v; want at least 1", n)
	}
	if _, body := call(t, eve.c, http.MethodGet, "http://"+b.Edge+"/v1/optout", "", nil); !strings.Contains(string(body), "has opted out") {
		t.Errorf("got %.200s; want the page to say that the browser has opted out", body)
	}
	if rs, _ := call(t, eve.c, http.MethodDelete, "http://"+b.Edge+"/v1/optout", "", nil); rs.StatusCode != http.StatusNoContent {
		t.Fatalf("got %d; want 204", rs.StatusCode)
	}
	again := eve.pixel(page)
	if again == "" || again == uid {
		t.Fatalf("got visitor id %q after opting in; want a new one", again)
	}
	b.awaitBid(again)
}

// TestOptOutIsForGood opts out a visitor with an identifier of an exchange and an e-mail
// address. Whatever the browser forgets afterwards, nobody finds, links or syncs the person
// again, at once and after a kill.
func TestOptOutIsForGood(t *testing.T) {
	conformance.Covers(t, "C4", "C11")
	adx := newStandIn(t, "adx", keep("u"))
	b := startBidder(t, "--config", shopWith(t, `exchanges:
  - {id: adx, include: builtin:generic, seat: seat-1, sources: [127.0.0.0/8], billing_source: {banner: burl}, match_url: "`+adx.URL+`/m?u=$UID"}
`))
	edge := "http://" + b.Edge
	eve := b.browser()
	uid := eve.pixel("a=shop&e=view_item&id=SKU1&em=" + hashOf("eve@mail.example"))
	eve.visit(edge + "/v1/match?ex=adx&uid=eve-1")
	b.bidsFor("adx", `{"id":"eve-1"}`)
	call(t, eve.c, http.MethodPost, edge+"/v1/optout", "", nil)
	check := func(when string) {
		t.Helper()
		for _, user := range []string{`{"id":"eve-1"}`, `{"buyeruid":"` + uid + `"}`} {
			if status, _ := b.ask("adx", []byte(strings.Replace(string(request("r", "none")), `{"buyeruid":"none"}`, user, 1))); status != http.StatusNoContent {
				t.Errorf("%s: got %d for the user %s; want 204", when, status, user)
			}
		}
		for _, c := range [][2]string{ // path, cookies
			{"/v1/sync?ex=adx", "rt_uid=" + uid}, {"/v1/syncs?a=shop", "rt_uid=" + uid}, {"/v1/match?ex=adx&uid=eve-2", "rt_uid=" + uid},
			{"/v1/px?a=shop&e=view_item&id=SKU1", "rt_uid=" + uid}, {"/v1/match?ex=adx&uid=eve-1", ""}, {"/v1/px?a=shop&e=view_item&id=SKU1&em=" + hashOf("eve@mail.example"), ""},
		} {
			rs, _ := call(t, nil, http.MethodGet, edge+c[0], "", nil, "Cookie", c[1])
			if len(rs.Cookies()) != 0 || rs.Header.Get("Location") != "" || strings.HasPrefix(c[0], "/v1/px") != (rs.StatusCode == http.StatusOK) {
				t.Errorf("%s: %s with cookies %q: got %d, %v; want nothing set and no redirect", when, c[0], c[1], rs.StatusCode, rs.Header)
			}
		}
		r := b.events(`[{"event":"view_item","items":["SKU1"],"user":{"em":"` + hashOf("eve@mail.example") + `"}},{"event":"view_item","items":["SKU1"],"user":{"uid":"` + uid + `"}}]`)
		for _, x := range list(r["rejected"]) {
			if obj(x)["code"] != "opted_out" {
				t.Errorf("%s: server events: got %v; want opted_out", when, r)
			}
		}
		if len(list(r["rejected"])) != 2 {
			t.Errorf("%s: server events: got %v; want both rejected", when, r)
		}
	}
	check("at once")
	b.kill()
	b.start()
	check("after a kill")
	if len(adx.ours) != 0 {
		t.Errorf("the exchange got %v; want nothing", adx.ours)
	}
	if n := b.metric("rebound_collect_rejected_total", "reason", "opted_out"); n != 8 {
		t.Errorf("got %v calls and events counted after the restart; want 8", n)
	}
}

// TestErase erases one of two visitors while both are biddable, kills the bidder in
// between, and searches every file of the data folder, decompressed, for the visitor's
// id and key as text, hex, base64 and raw bytes. Only the erasure itself names the key.
func TestErase(t *testing.T) {
	b := startBidder(t)
	ann, ben := b.browser(), b.browser()
	page := "a=shop&e=view_item&id=SKU1&gdpr=0&u=" + url.QueryEscape("https://shop.example/p/SKU1")
	gone, stays := ann.pixel(page), ben.pixel(page)
	b.events(`[{"event":"add_to_cart","user":{"uid":"` + gone + `","ifa":"6d92078a-8246-4ba4-ae5b-76104861e7dc"},"items":[{"id":"SKU2"}]}]`)
	b.awaitBid(gone)
	b.awaitBid(stays)
	key := firstVisitor(t, b.dir)
	if len(searchFor(t, b.dir, key)) == 0 {
		t.Fatal("the visitor's key is in no file; want it in the log")
	}
	before, err := json.Marshal(b.budget("autumn", "cart", "day"))
	if err != nil {
		t.Fatal(err)
	}

	rs, body := call(t, nil, http.MethodPost, "http://"+b.Admin+"/admin/privacy/erase", "application/json",
		[]byte(`{"ids":[{"kind":"uid","value":"`+gone+`"}]}`))
	if rs.StatusCode != http.StatusAccepted {
		t.Fatalf("got %d %s; want 202", rs.StatusCode, body)
	}
	id, _ := parse(t, body)["request_id"].(string)
	b.kill() // an accepted request survives it
	b.start()
	var receipt map[string]any
	within(t, patience, "the receipt", func() bool {
		rs, body := call(t, nil, http.MethodGet, "http://"+b.Admin+"/admin/privacy/erase/"+id, "", nil)
		receipt = parse(t, body)
		return rs.StatusCode == 200 && receipt["state"] == "done"
	})
	found, _ := receipt["found"].(map[string]any)
	if found["profile"] != 1.0 || found["edges"] != 1.0 {
		t.Errorf("got receipt %v; want one profile and one identifier", receipt)
	}
	for name, text := range searchFor(t, b.dir, key) {
		if !strings.HasSuffix(name, "erase") {
			t.Errorf("%s still holds the visitor's key: %.200q", name, text)
		}
	}
	if status, _ := b.ask("demo", request("gone", gone)); status != http.StatusNoContent {
		t.Errorf("got %d for the erased visitor; want 204", status)
	}
	b.awaitBid(stays)
	after, err := json.Marshal(b.budget("autumn", "cart", "day"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(before), `"spent_micros":0`) != strings.Contains(string(after), `"spent_micros":0`) {
		t.Errorf("got budget %s after the erasure; want that of before, %s", after, before)
	}
	b.terminate()
	if status, out, errs := program(t, "bidder", "verify", "--data", b.dir); status != 0 || !strings.Contains(out, "erased") {
		t.Errorf("verify: got %d %s%s; want an intact log that tells of erased facts", status, out, errs)
	}
	for name := range searchFor(t, b.dir, key) {
		if !strings.HasSuffix(name, "erase") {
			t.Errorf("%s holds the visitor's key after the stop", name)
		}
	}
}

// TestRestoreReapplies restores a backup that was made before one visitor opted out and
// another was erased.
func TestRestoreReapplies(t *testing.T) {
	b := startBidder(t)
	ann, eve := b.browser(), b.browser()
	page := "a=shop&e=view_item&id=SKU1&gdpr=0&u=" + url.QueryEscape("https://shop.example/p/SKU1")
	gone := ann.pixel(page)
	out := eve.pixel(page)
	b.awaitBid(gone)
	key := firstVisitor(t, b.dir)
	backup := filepath.Join(t.TempDir(), "backup")
	if status, said := tool(t, "bidder", "backup", "--data", b.dir, backup); status != 0 {
		t.Fatalf("backup: got %d %s", status, said)
	}
	call(t, eve.c, http.MethodPost, "http://"+b.Edge+"/v1/optout", "", nil)
	if status, said := tool(t, "bidder", "erase", "--admin", b.Admin, "uid:"+gone); status != 0 || !strings.Contains(said, `"state": "done"`) {
		t.Fatalf("erase: got %d %s; want the receipt", status, said)
	}
	b.kill()
	old := b.dir
	b.dir = filepath.Join(t.TempDir(), "restored")
	if status, said := tool(t, "bidder", "restore", "--data", b.dir, "--reapply", old, backup); status != 0 || !strings.Contains(said, "1 opt-outs and opt-ins and 1 erasures") {
		t.Fatalf("restore: got %d %s; want one opt-out and one erasure to be repeated", status, said)
	}
	b.start()
	within(t, patience, "the erasure", func() bool {
		for name := range searchFor(t, b.dir, key) {
			if !strings.HasSuffix(name, "erase") {
				return false
			}
		}
		return true
	})
	for name, uid := range map[string]string{"opted out": out, "erased": gone} {
		if status, _ := b.ask("demo", request("r", uid)); status != http.StatusNoContent {
			t.Errorf("%s: got %d; want 204", name, status)
		}
	}
	if n := b.metric("rebound_bidder_nobids_total", "exchange", "demo", "reason", "privacy_opted_out"); n+b.metric("rebound_bidder_nobids_total", "exchange", "demo", "reason", "blind") < 1 {
		t.Errorf("privacy_opted_out: got %v; want 1", n)
	}
}

// firstVisitor returns the key of the visitor of the first event in the log.
func firstVisitor(t *testing.T, dir string) string {
	t.Helper()
	for _, text := range allFiles(t, filepath.Join(dir, "log", "facts")) {
		if m := regexp.MustCompile(`"kind":"event".*?"visitor":"([\w-]{22})"`).FindSubmatch(text); m != nil {
			return string(m[1])
		}
	}
	t.Fatal("no event in the log")
	return ""
}

// searchFor returns the files that contain a key in any form, with the place. Lines of
// erase facts are listed under a name that ends in "erase".
func searchFor(t *testing.T, dir, key string) map[string]string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	forms := [][]byte{[]byte(key), raw, []byte(hex.EncodeToString(raw)), []byte(strings.ToUpper(hex.EncodeToString(raw))), []byte(base64.RawStdEncoding.EncodeToString(raw))}
	found := map[string]string{}
	for name, text := range allFiles(t, dir) {
		for _, line := range bytes.Split(text, []byte("\n")) {
			for _, form := range forms {
				if i := bytes.Index(line, form); i >= 0 {
					where := name
					if bytes.Contains(line, []byte(`"kind":"erase"`)) {
						where += " erase"
					}
					found[where] = string(line[max(0, i-60):min(len(line), i+80)])
				}
			}
		}
	}
	return found
}

// allFiles returns the content of all files below a folder, decompressed.
func allFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files := map[string][]byte{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && strings.HasSuffix(path, ".zst") {
			b, err = z.DecodeAll(b, nil)
		}
		if os.IsNotExist(err) {
			return nil
		}
		files[path] = b
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return files
}

// id returns the browser's visitor id; empty if it has no cookie.
func (w *browser) id() string {
	for _, c := range w.c.Jar.Cookies(&url.URL{Scheme: "http", Host: w.b.Edge, Path: "/"}) {
		if c.Name == "rt_uid" {
			return c.Value
		}
	}
	return ""
}
