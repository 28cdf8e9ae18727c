package arch

// room says which of our own packages a room may import, and why no more.
type room struct {
	may string // separated by spaces; * is every package
	why string
}

// rooms is the table of import directions. A folder that is not in it is a new
// room: it gets its line here first.
var rooms = map[string]room{
	"rtb":         {"", "the shared words stand on the standard library alone, so that everyone may import them"},
	"exchange":    {"internal/spec rtb", "it knows the protocol, and nothing of visitors or money: it gets and gives values"},
	"privacy":     {"internal/spec rtb", "the gate stands before every lookup, so it can reach none"},
	"creatives":   {"internal/spec rtb", "markup is made from values that the bid hands over"},
	"events":      {"rtb", "the words of the log know no engine"},
	"journal":     {"events rtb", "the log stores facts and knows nothing of what they mean"},
	"audiences":   {"events internal/spec rtb", "a rule is a function of events and a visitor, wherever these come from"},
	"pacing":      {"events rtb", "money is a fold over facts; plans come to it as plain values"},
	"campaigns":   {"audiences creatives events internal/spec rtb", "what may be bought is compiled from rules and creatives, and holds no state"},
	"segments":    {"audiences events rtb", "profiles are a fold over facts; who asks is not its business"},
	"config":      {"audiences campaigns creatives exchange internal/spec pacing privacy rtb", "it compiles the file into values of the rooms that these are for, and starts nothing"},
	"bidder":      {"audiences campaigns creatives events exchange privacy rtb", "visitors, budgets, links and records are interfaces that it declares, so that serving and replay decide with the same code"},
	"tracking":    {"events exchange rtb", "a notice carries its claims; money and profiles change by facts only"},
	"collect":     {"audiences events privacy rtb", "the edge writes facts; what is made of them is the folds' work"},
	"attribution": {"events rtb", "it answers from the logs"},
	"reports":     {"events rtb", "it answers from the logs"},
	"replay":      {"audiences bidder campaigns config creatives events exchange internal/chart pacing privacy segments rtb", "it runs the decision and its views, but no server, no collector and no journal"},
	"loadtest":    {"exchange internal/chart rtb", "an exchange under our control must not share the decision that it tests"},
	"server":      {"rtb", "it knows handlers as functions, and no domain"},
	"dashboard":   {"rtb", "it shows what functions tell it"},
	"examples":    {"", "it only embeds the sample files"},
	"apptest":     {"internal/conformance", "it tries the built programs from outside; what it shares with them it could not test"},

	"internal/spec":        {"", "every room that compiles a part of the configuration imports it, so it can import none of them"},
	"internal/arch":        {"", "it reads text, not packages"},
	"internal/reference":   {"internal/cli rtb", "it reads text, and the enum of no-bid reasons"},
	"internal/cli":         {"config examples", "the command lines share how they load a configuration"},
	"internal/chart":       {"", "it draws numbers, wherever they come from"},
	"internal/conformance": {"", "it names rules and writes down what the tests found"},

	"cmd/bidder":   {"*", ""},
	"cmd/replay":   {"*", ""},
	"cmd/loadtest": {"examples exchange internal/chart loadtest rtb", "the load generator's binary must not hold the bidder"},
}

// fence says where a library may be used. A place is a room, or a path.Match
// pattern of files; tests may use every dependency.
type fence struct {
	library string // import path or the beginning of it
	places  string // separated by spaces
	why     string
}

var fences = []fence{
	{"github.com/valyala/fasthttp", "server cmd/bidder tracking/handler*.go collect/handler*.go bidder/handler*.go", "HTTP ends in the server and in thin handler files; everything behind them works on bytes and values"},
	{"github.com/prebid/openrtb", "exchange", "decoding into its types allocates and fails on loose scalars: the bid path has its own decoder, these are for comparison"},
	{"github.com/prebid/go-gdpr", "", "it panics on some strings that anyone may send; internal/bench compares with it"},
	{"github.com/prebid/go-gpp", "", "its time is exponential in the header's length: one request could hold a core for ever"},
	{"github.com/dgraph-io/ristretto", "segments", "only the profile cache needs it"},
	{"github.com/cockroachdb/pebble", "segments pacing attribution", "only views keep state on disk, each in a folder of its own"},
	{"github.com/nats-io", "journal", "the log is the journal's; everyone else appends and follows through it"},
	{"github.com/tsenart/vegeta", "loadtest", "the attack library must stay out of the bidder"},
	{"github.com/prometheus", "server cmd/bidder", "rooms count in plain atomics; only the server names metrics"},
	{"github.com/klauspost/compress", "events journal server collect bidder/handler*.go bidder/gzip.go replay loadtest cmd/bidder cmd/replay cmd/loadtest", "compression belongs to files and to the wire"},
	{"go.yaml.in/yaml", "config", "only the configuration is YAML; config reads it once and hands out plain values"},
	{"golang.org/x/net", "bidder campaigns collect config creatives exchange", "only the public suffix list is used"},
	{"golang.org/x/term", "cmd/bidder cmd/replay cmd/loadtest", "only programs have a terminal"},
	{"go.uber.org/goleak", "", "it watches tests"},
}

// Sizes past which a file or function is two, in lines. Tests and generated
// files have none.
const (
	maxFileLines     = 600
	maxFunctionLines = 80
)

// forbiddenFolders are names that say nothing of what is inside.
var forbiddenFolders = []string{"util", "utils", "common", "models", "pkg", "helpers", "misc"}

// endings are calls that end the process or unwind it, by selector. Below cmd
// they turn one bad request into an outage.
var endings = []string{"os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln", "log.Panic", "log.Panicf", "log.Panicln"}

// loggerEndings are the methods of a logger that do the same.
var loggerEndings = []string{"Fatal", "Fatalf", "Fatalw", "Panic", "Panicf", "Panicw", "DPanic"}

// clockReaders are the functions that read the wall clock, called or named. To
// name time.Now as the default of an option Now is allowed: the option is how
// time is handed in.
var clockReaders = []string{"time.Now", "time.Since", "time.Until"}

// clockRooms may read it.
var clockRooms = []string{"cmd/bidder", "cmd/replay", "cmd/loadtest", "server", "apptest"}

// loggerMakers build a logger instead of taking one.
var loggerMakers = []string{"zap.New", "zap.NewProduction", "zap.NewDevelopment", "zap.NewExample", "zap.Must", "zap.L", "zap.S", "zap.ReplaceGlobals"}
