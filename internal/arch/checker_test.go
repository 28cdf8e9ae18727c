package arch

import (
	"maps"
	"strings"
	"testing"
	"testing/fstest"
)

// small returns a repository without violations.
func small() map[string]string {
	return map[string]string{
		"go.mod":                         "module rebound\n\ngo 1.26.0\n\nrequire (\n\tgo.uber.org/zap v1.28.0\n\tgithub.com/a/b v1.0.0 // indirect\n)\n",
		"internal/arch/dependencies.txt": "# modules\ngo.uber.org/zap  logs without garbage here\n",
		"internal/arch/allow.txt":        "# none\n",
		"rtb/doc.go":                     "// Package rtb holds words.\npackage rtb\n",
		"exchange/doc.go":                "// Package exchange holds protocols.\npackage exchange\n\nimport _ \"rebound/rtb\"\n",
		"segments/doc.go":                "// Package segments holds visitors.\npackage segments\n\nimport (\n\t_ \"go.uber.org/zap\"\n\t_ \"rebound/events\"\n)\n",
		"events/doc.go":                  "// Package events holds facts.\npackage events\n",
		"cmd/bidder/main.go":             "// Command bidder bids.\npackage main\n\nimport (\n\t\"os\"\n\t\"time\"\n\n\t_ \"rebound/segments\"\n)\n\nfunc main() { _ = time.Now(); os.Exit(1) }\n",
	}
}

func check(t *testing.T, files map[string]string) []Violation {
	t.Helper()
	root := fstest.MapFS{}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	found, err := Check(root)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestASmallRepositoryPasses(t *testing.T) {
	for _, v := range check(t, small()) {
		t.Error(v)
	}
}

// Every rule can fail: each case breaks one rule, and the checker reports that
// violation and no other.
func TestEveryRuleCanFail(t *testing.T) {
	long := strings.Repeat("\t_ = 0\n", maxFunctionLines)
	for _, c := range []struct {
		name, file, text, want string
	}{
		{"exchange imports segments", "exchange/decode.go", "package exchange\n\nimport (\n\t\"rebound/rtb\"\n\t\"rebound/segments\"\n)\n",
			"exchange/decode.go:5: exchange imports segments; it may import only internal/inventory, internal/spec, rtb: it knows the protocol and nothing about visitors or money; it exchanges values with its callers [import]"},
		{"rtb imports anything", "rtb/id.go", "package rtb\n\nimport \"rebound/events\"\n",
			"rtb/id.go:3: rtb imports events; it may import no other package of the module: it defines the shared types, so it depends on the standard library alone and every room may import it [import]"},
		{"a room below another", "exchange/price/a.go", "// Package price reads prices.\npackage price\n\nimport \"rebound/journal\"\n", "exchange imports journal"},
		{"a black-box test shares code", "apptest/a_test.go", "package apptest\n\nimport \"rebound/rtb\"\n", "apptest imports rtb; it may import only internal/conformance"},
		{"the load generator holds the bidder", "cmd/loadtest/main.go", "// Command loadtest attacks.\npackage main\n\nimport \"rebound/bidder\"\n\nfunc main() {}\n", "cmd/loadtest imports bidder"},
		{"NATS outside the journal", "segments/x.go", "package segments\n\nimport \"github.com/nats-io/nats.go\"\n",
			"segments/x.go:3: github.com/nats-io/nats.go is imported here; it is allowed only in journal: only the journal accesses the log; other rooms append and follow through it [fence]"},
		{"fasthttp in a thick file", "tracking/token.go", "// Package tracking signs.\npackage tracking\n\nimport \"github.com/valyala/fasthttp\"\n", "it is allowed only in server, cmd/bidder, tracking/handler*.go"},
		{"a comparison library in the program", "segments/x.go", "package segments\n\nimport \"github.com/prebid/go-gdpr/vendorconsent\"\n", "it is allowed only in tests"},
		{"no package comment", "privacy/a.go", "package privacy\n", "package privacy has no comment; want one in doc.go that begins \"Package privacy \""},
		{"two package comments", "rtb/a.go", "// Package rtb is more.\npackage rtb\n", "package rtb has 2 comments"},
		{"a comment of another form", "privacy/a.go", "// The gate.\npackage privacy\n", "the comment of package privacy begins \"The gate.\\n\"; want \"Package privacy \""},
		{"a file too long", "rtb/a.go", "package rtb\n" + strings.Repeat("\n", maxFileLines), "the file has 601 lines; want at most 600"},
		{"a function too long", "rtb/a.go", "package rtb\n\nfunc f() {\n" + long + "}\n", "rtb/a.go:3: function f has 82 lines; want at most 80"},
		{"an undocumented function", "rtb/a.go", "package rtb\n\nfunc F() {}\n", "exported function F has no comment"},
		{"an undocumented method", "rtb/a.go", "package rtb\n\n// T is.\ntype T[X any] struct{}\n\nfunc (t *T[X]) M() {}\n", "exported function M has no comment"},
		{"an undocumented type in a group", "rtb/a.go", "package rtb\n\n// Types.\ntype (\n\tT int\n)\n", "exported type T has no comment"},
		{"an undocumented constant", "rtb/a.go", "package rtb\n\nconst C = 1\n", "exported constant C has no comment"},
		{"an undocumented variable", "rtb/a.go", "package rtb\n\nvar V int\n", "exported variable V has no comment"},
		{"a dependency without a reason", "go.mod", "module rebound\n\nrequire go.uber.org/zap v1.28.0\nrequire github.com/x/y v1.0.0\n", "github.com/x/y has no line in internal/arch/dependencies.txt"},
		{"a dependency that nothing imports", "go.mod", "module rebound\n\nrequire go.uber.org/zap v1.28.0\nrequire github.com/x/y v1.0.0\n", "github.com/x/y is required but never imported"},
		{"a reason without a dependency", "internal/arch/dependencies.txt", "go.uber.org/zap logs without garbage\ngithub.com/x/y for no reason\n", "github.com/x/y is listed but is not a direct dependency"},
		{"panic", "rtb/a.go", "package rtb\n\nfunc f() { panic(1) }\n", "rtb/a.go:3: panic is called here"},
		{"os.Exit", "rtb/a.go", "package rtb\n\nimport \"os\"\n\nfunc f() { os.Exit(1) }\n", "os.Exit is called here"},
		{"log.Fatal, renamed", "rtb/a.go", "package rtb\n\nimport l \"log\"\n\nfunc f() { l.Fatalf(\"\") }\n", "log.Fatalf is called here"},
		{"a logger that ends the process", "rtb/a.go", "package rtb\n\nfunc f(x struct{ log interface{ Fatal(string) } }) { x.log.Fatal(\"\") }\n", "logger.Fatal is called here"},
		{"the wall clock", "segments/x.go", "package segments\n\nimport \"time\"\n\nvar start = time.Now()\n", "segments/x.go:5: time.Now is used here"},
		{"the wall clock in disguise", "segments/x.go", "package segments\n\nimport \"time\"\n\nfunc f(t time.Time) any { return time.Since(t) }\n", "time.Since is used here"},
		{"the wall clock as something else's default", "segments/x.go", "package segments\n\nimport \"time\"\n\nfunc f(x struct{ Clock func() time.Time }) { x.Clock = time.Now }\n", "time.Now is used here"},
		{"a logger of its own", "segments/x.go", "package segments\n\nimport \"go.uber.org/zap\"\n\nvar log, _ = zap.NewProduction()\n", "zap.NewProduction is used here"},
		{"a folder that gathers", "util/a.go", "// Package util gathers.\npackage util\n", "a folder is named \"util\""},
		{"a folder that gathers, deeper", "rtb/helpers/a.go", "// Package helpers gathers.\npackage helpers\n", "a folder is named \"helpers\""},
		{"a room without a line", "auction/a.go", "// Package auction sells.\npackage auction\n", "auction is not in the table of import directions"},
		{"an exception for nothing", "internal/arch/allow.txt", "clock segments/x.go time.Now it needs the clock\n", "internal/arch/allow.txt:1: the exception \"clock segments/x.go time.Now\" matches nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := small()
			files[c.file] = c.text
			reported := false
			for _, v := range check(t, files) {
				if strings.Contains(v.String(), c.want) {
					reported = true
					continue
				}
				if !unavoidable(v, c.name) {
					t.Errorf("also reported: %v", v)
				}
			}
			if !reported {
				t.Errorf("not reported: %s", c.want)
			}
		})
	}
}

// unavoidable reports whether a violation is a side effect of a case: a library that
// the small go.mod does not list, or a folder that is not a known room.
func unavoidable(v Violation, name string) bool {
	return strings.HasPrefix(name, "a dependency") && v.Rule == "dependency" || name == "a folder that gathers" && v.Rule == "room"
}

// Code that looks like a violation but is allowed.
func TestWhatIsAllowed(t *testing.T) {
	for name, extra := range map[string]map[string]string{
		"tests may join rooms, read the clock and panic": {"exchange/a_test.go": "package exchange\n\nimport (\n\t\"time\"\n\n\t_ \"rebound/segments\"\n)\n\nfunc F() { time.Now(); panic(1) }\n"},
		"generated files have no size":                   {"rtb/a.go": "// Code generated by x. DO NOT EDIT.\n\npackage rtb\n" + strings.Repeat("\n", 700)},
		"testdata is not checked":                        {"rtb/testdata/util/a.go": "package util\n\nfunc F() { panic(1) }\n"},
		"another module has its own rules":               {"internal/bench/go.mod": "module rebound/internal/bench\n", "internal/bench/util/a.go": "package util\n\nimport _ \"github.com/goccy/go-json\"\n\nfunc F() { panic(1) }\n"},
		"a thin handler file":                            {"tracking/handler.go": "// Package tracking signs.\npackage tracking\n\nimport _ \"github.com/valyala/fasthttp\"\n"},
		"the default of an option":                       {"segments/x.go": "package segments\n\nimport \"time\"\n\nfunc f(o struct{ Now func() time.Time }) {\n\tif o.Now == nil {\n\t\to.Now = time.Now\n\t}\n}\n"},
		"a local thing that is called time":              {"segments/x.go": "package segments\n\nfunc f(time interface{ Now() int }) { time.Now() }\n"},
		"documented as a group":                          {"rtb/a.go": "package rtb\n\n// The sizes.\nconst (\n\tA = 1\n\tB = 2\n)\n\ntype t int\n\nfunc (t) M() {}\n"},
		"an exception with its reason": {
			"segments/x.go":           "package segments\n\nfunc f() { panic(1) }\n",
			"internal/arch/allow.txt": "ending segments/x.go panic the library demands it\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := small()
			maps.Copy(files, extra)
			for _, v := range check(t, files) {
				t.Error(v)
			}
		})
	}
}

func TestUnreadableTables(t *testing.T) {
	for name, text := range map[string]string{
		"internal/arch/allow.txt":        "clock segments/x.go time.Now because\n",
		"internal/arch/dependencies.txt": "go.uber.org/zap\n",
		"rtb/doc.go":                     "package\n",
	} {
		files := small()
		files[name] = text
		root := fstest.MapFS{}
		for n, t := range files {
			root[n] = &fstest.MapFile{Data: []byte(t)}
		}
		if _, err := Check(root); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got error %v; want one that names it", name, err)
		}
	}
}
