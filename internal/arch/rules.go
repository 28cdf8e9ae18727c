package arch

// room states which packages of the module a room may import, and why no others. A
// room is a top-level folder, or a folder below cmd or internal.
type room struct {
	may string // separated by spaces; * allows every package
	why string
}

// rooms is the table of import directions. A new room must be added to it.
var rooms = map[string]room{
	"rtb":         {"", "it defines the shared types, so it depends on the standard library alone and every room may import it"},
	"exchange":    {"internal/inventory internal/spec rtb", "it knows the protocol and nothing about visitors or money; it exchanges values with its callers"},
	"privacy":     {"internal/spec rtb", "privacy is decided before any lookup, so it must not be able to look anything up"},
	"creatives":   {"internal/inventory internal/spec rtb", "it renders markup from values that the caller passes"},
	"events":      {"rtb", "it defines the records of the log and does not know how they are stored"},
	"journal":     {"events rtb", "it stores facts and does not interpret them"},
	"audiences":   {"events internal/inventory internal/spec rtb", "a rule is a function of events and a visitor, independent of where they come from"},
	"pacing":      {"events internal/view rtb", "money is a fold over facts; plans are passed to it as plain values"},
	"campaigns":   {"audiences creatives events internal/inventory internal/spec rtb", "it compiles rules and creatives into an immutable index and holds no state"},
	"segments":    {"audiences events internal/view rtb", "profiles are a fold over facts, independent of who reads them"},
	"config":      {"audiences campaigns creatives examples exchange internal/inventory internal/spec pacing privacy rtb", "it compiles the configuration into values of the rooms that use them, and starts nothing; examples has the exchange profiles that configurations include by name"},
	"bidder":      {"audiences campaigns creatives events exchange privacy rtb", "it declares interfaces for visitors, budgets, links and records, so that the server and replay run the same decision"},
	"tracking":    {"events exchange internal/inventory rtb", "a notice carries its own claims; money and profiles change only through facts"},
	"collect":     {"audiences events internal/inventory privacy rtb", "it writes facts; the folds interpret them"},
	"attribution": {"events rtb", "it answers from the logs"},
	"reports":     {"events internal/chart rtb", "it answers from the logs"},
	"replay":      {"audiences bidder campaigns config creatives events exchange internal/chart internal/lab pacing privacy segments rtb", "it runs the decision and its views without a server, a collector or a journal"},
	"loadtest":    {"exchange internal/chart rtb", "a synthetic exchange must not share code with the decision that it tests"},
	"server":      {"rtb", "it knows handlers as functions and nothing about bidding"},
	"dashboard":   {"rtb", "it displays what functions passed to it return"},
	"examples":    {"", "it only embeds the sample files"},
	"apptest":     {"internal/conformance", "it tests the built programs from outside, so it must not share code with them"},

	"internal/lab":         {"audiences bidder campaigns config creatives events exchange internal/spec pacing privacy segments rtb tracking", "it connects the parts of an in-memory bidder once, for try, explain, replay and tests, and needs no server, collector or journal"},
	"internal/explain":     {"audiences bidder campaigns events internal/spec pacing privacy rtb", "it tells people what a decision and a profile hold, for the command line, the admin listener and the response of a debugged request"},
	"internal/spec":        {"", "every room that compiles a part of the configuration imports it, so it can import none of them"},
	"internal/inventory":   {"", "it normalizes names of sites, apps and media types, which requests, configuration and feeds share"},
	"internal/arch":        {"", "it parses the sources"},
	"internal/reference":   {"internal/cli rtb", "it parses the sources, and lists the no-bid reasons"},
	"internal/cli":         {"config examples", "it loads the configuration for the command lines"},
	"internal/longrun":     {"", "it writes files and a progress bar for the programs, whatever they run"},
	"internal/view":        {"events", "it stores the data and the position of a view and does not interpret them"},
	"internal/chart":       {"", "it draws plain numbers"},
	"internal/conformance": {"", "it records which rules the tests cover"},

	"cmd/bidder":   {"*", ""},
	"cmd/replay":   {"*", ""},
	"cmd/loadtest": {"examples exchange internal/chart internal/longrun loadtest rtb", "the load generator must not contain the bidder"},
}

// fence states where a library may be imported. A place is a room or a path.Match
// pattern of files. Tests may import every dependency.
type fence struct {
	library string // import path or a prefix of it
	places  string // separated by spaces
	why     string
}

var fences = []fence{
	{"github.com/valyala/fasthttp", "server cmd/bidder tracking/handler*.go collect/handler*.go bidder/handler*.go loadtest/floor.go", "HTTP is confined to the server, to thin handler files, and to the bare handler that figures are compared with; everything else works on bytes and values"},
	{"github.com/prebid/openrtb", "exchange", "decoding into its types allocates and fails on scalars of the wrong type: the bid path has its own decoder, and tests compare with these types"},
	{"github.com/prebid/go-gdpr", "", "it panics on some strings that any client may send; only internal/bench compares with it"},
	{"github.com/prebid/go-gpp", "", "its run time is exponential in the length of the header: one request could occupy a core indefinitely"},
	{"github.com/dgraph-io/ristretto", "segments", "only the profile cache uses it"},
	{"github.com/cockroachdb/pebble", "internal/view", "how a view survives crashes and damage is implemented once; other packages read and write through it"},
	{"github.com/nats-io", "journal", "only the journal accesses the log; other rooms append and follow through it"},
	{"github.com/tsenart/vegeta", "loadtest", "the attack library must stay out of the bidder"},
	{"github.com/prometheus", "server cmd/bidder", "rooms count with plain atomics; only the server exports metrics"},
	{"github.com/klauspost/compress", "events journal server collect bidder/handler*.go bidder/gzip.go replay loadtest cmd/bidder cmd/replay cmd/loadtest", "compression is for files and network bodies"},
	{"modernc.org/sqlite", "reports", "only the rollups of reports are kept in SQLite, and they can be rebuilt from the log"},
	{"go.yaml.in/yaml", "config", "only the configuration is YAML; config reads it once and hands out plain values"},
	{"golang.org/x/net", "bidder collect internal/inventory", "only its public suffix list and its internationalized domain names are used"},
	{"golang.org/x/sys/cpu", "exchange", "only the scanner of bid requests uses instructions that not every processor has"},
	{"golang.org/x/sys/unix", "server", "only the event loops of the listener make system calls of their own"},
	{"golang.org/x/term", "cmd/bidder cmd/replay cmd/loadtest", "only the programs use a terminal"},
	{"go.uber.org/goleak", "", "it finds leaked goroutines in tests"},
}

// Limits in lines, above which a file or function should be split. Tests and generated
// files are exempt.
const (
	maxFileLines     = 600
	maxFunctionLines = 80
)

// forbiddenFolders are names that do not describe what a folder contains.
var forbiddenFolders = []string{"util", "utils", "common", "models", "pkg", "helpers", "misc"}

// endings are functions that end the process or panic. Outside package main they
// would let one bad request stop the bidder.
var endings = []string{"os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln", "log.Panic", "log.Panicf", "log.Panicln"}

// loggerEndings are methods of a logger that do the same.
var loggerEndings = []string{"Fatal", "Fatalf", "Fatalw", "Panic", "Panicf", "Panicw", "DPanic"}

// clockReaders are functions that read the wall clock. Assigning time.Now to a field
// called Now is allowed, as the default of an option that injects the clock.
var clockReaders = []string{"time.Now", "time.Since", "time.Until"}

// clockRooms may call the clockReaders.
var clockRooms = []string{"cmd/bidder", "cmd/replay", "cmd/loadtest", "server", "apptest"}

// loggerMakers are functions that build a logger or return a global one.
var loggerMakers = []string{"zap.New", "zap.NewProduction", "zap.NewDevelopment", "zap.NewExample", "zap.Must", "zap.L", "zap.S", "zap.ReplaceGlobals"}
