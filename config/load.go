package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"maps"
	"net/netip"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"rebound/audiences"
	"rebound/campaigns"
	"rebound/creatives"
	"rebound/exchange"
	"rebound/internal/spec"
)

// Load loads the configuration at path from the file system of the machine. The
// error is [spec.Problems].
func Load(path string, o Options) (*Snapshot, error) {
	return LoadFS(osFS{}, filepath.ToSlash(path), o)
}

// LoadFS loads the configuration at path in fsys. The error is [spec.Problems].
func LoadFS(fsys fs.FS, path string, o Options) (*Snapshot, error) {
	path = cleanPath(path)
	l := &loader{fsys: fsys, getenv: o.Getenv, files: map[string][]byte{}, top: place{file: path}, blocks: map[string]*node{}, words: map[string]string{}, placeholders: o.placeholders}
	s := &Snapshot{Path: path}
	root := l.parse(path, place{file: path}, "")
	if root != nil {
		l.expand(root, "", true, nil)
		l.root, l.top.line = root, 1
		l.decode(root, reflect.ValueOf(&s.File).Elem(), "", "")
		l.compile(s, o)
	}
	l.placeAll()
	if s.Tables != nil { // a snapshot that kept its loader would keep all snapshots before it
		s.Tables.Close()
	}
	if len(l.found) > 0 {
		problems := sorted(l.found)
		if l.more > 0 {
			problems = append(problems, spec.Problem{File: path, Got: strconv.Itoa(l.more) + " more problems", Want: "the problems above to be fixed first"})
		}
		return nil, spec.Problems(problems)
	}
	s.Warnings = sorted(l.Warnings)
	s.Hash = l.hash(path)
	s.sources, s.secrets, s.fsys = l.sources(s), l.secrets, fsys
	s.Files = slices.Sorted(maps.Keys(l.files))
	s.Files = slices.DeleteFunc(s.Files, func(name string) bool { return strings.HasPrefix(name, builtin) })
	s.Files = append(s.Files, l.feeds...)
	for _, t := range s.Tables.Files() {
		s.Files = append(s.Files, t.Name)
	}
	return s, nil
}

func cleanPath(name string) string { return path.Clean(name) }

// hash returns the hash of every file read but the feeds. Names are relative to
// the folder of the configuration, so that the same files in another folder
// have the same hash.
func (l *loader) hash(root string) string {
	h := sha256.New()
	dir := path.Dir(root)
	type file struct {
		name string
		sum  [sha256.Size]byte
	}
	var files []file
	for name, content := range l.files {
		files = append(files, file{relative(dir, name), sha256.Sum256(content)})
	}
	if l.tables != nil {
		for _, t := range l.tables.Files() {
			files = append(files, file{relative(dir, t.Name), t.Sum})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	for _, f := range files {
		h.Write([]byte(strconv.Itoa(len(f.name)) + ":" + f.name))
		h.Write(f.sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// relative returns the name of a file relative to a folder, or the name itself
// if that is impossible.
func relative(dir, name string) string {
	if strings.HasPrefix(name, builtin) {
		return name
	}
	rel, err := filepath.Rel(filepath.FromSlash(dir), filepath.FromSlash(name))
	if err != nil {
		return name
	}
	return filepath.ToSlash(rel)
}

// compile checks every section, fills in the defaults and compiles. Later
// sections are checked even if earlier ones have problems, except for the parts
// that depend on those.
func (l *loader) compile(s *Snapshot, o Options) {
	if s.Version != 1 {
		got := strconv.Itoa(s.Version)
		if s.Version == 0 {
			got = "nothing"
		}
		l.Add("version", got, "1")
	}
	l.listen(&s.Listen, defaultHost(&s.File), o.Now)
	l.data(s)
	s.Policy = l.privacy(&s.Privacy)
	l.collect(&s.Collect)
	s.EIDSources = l.identity(&s.Identity)
	s.Rates = l.rates(&s.File.Rates, o.Now)
	l.loadFeeds(s, o)
	l.exchanges(s)
	l.creatives(s)
	l.audiences(s)
	l.supply(s, o)
	l.campaigns(s)
	l.approvals(s)
	l.markets(s)
}

func (l *loader) collect(c *Collect) {
	for path, n := range map[string]int{"events_per_visitor": c.EventsPerVisitor, "calls_per_address": c.CallsPerAddress, "events_per_advertiser": c.EventsPerAdvertiser} {
		if n < 0 {
			l.Add("collect."+path, strconv.Itoa(n), "a number above 0")
		}
	}
}

func (l *loader) exchanges(s *Snapshot) {
	s.Profiles = map[string]*exchange.Profile{}
	for i := range s.Exchanges {
		x, at := &s.Exchanges[i], spec.At("exchanges", i)
		p, problems := x.Compile()
		l.Include(at, spec.Report{Problems: problems})
		if _, again := s.Profiles[x.ID]; again && x.ID != "" {
			l.Add(at+".id", spec.Quote(x.ID)+" again", "an id that no other exchange has")
		}
		s.Profiles[x.ID] = p
		l.secret(at, x)
		if x.Secret == "" {
			from := "this machine"
			if len(x.Sources) > 0 {
				from = strings.Join(x.Sources, ", ")
			}
			l.Warn(at+".secret", "no secret: anyone from "+from+" can request bids", "a secret, such as ${EXCHANGE_SECRET}, before an exchange connects")
		}
	}
	if len(s.Exchanges) == 0 {
		l.Warn("exchanges", "none", "at least one exchange, or there are no bid requests")
	}
}

// minSecret is the shortest secret of an exchange, in bytes: fewer can be guessed.
const minSecret = 8

// secret refuses a secret that is set but protects nothing. An empty one is accepted
// only with sources that are all this machine.
func (l *loader) secret(at string, x *exchange.ProfileSpec) {
	_, set := l.find(at + ".secret")
	switch {
	case set && x.Secret == "" && (len(x.Sources) == 0 || !OnlyLoopback(x.Sources)):
		l.Add(at+".secret", "a secret that is set but empty", "a secret such as ${EXCHANGE_SECRET}; leave the field out to let sources alone decide")
	case x.Secret != "" && len(x.Secret) < minSecret:
		l.Add(at+".secret", "a secret of "+strconv.Itoa(len(x.Secret))+" bytes", "at least "+strconv.Itoa(minSecret)+" bytes, better 32 random ones")
	}
}

// OnlyLoopback reports whether all sources of an exchange are this machine. An empty list, the
// default, is.
func OnlyLoopback(sources []string) bool {
	return !slices.ContainsFunc(sources, func(text string) bool {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			return err != nil || !addr.IsLoopback()
		}
		least := 8 // 127.0.0.0/8
		if prefix.Addr().Is6() {
			least = 128
		}
		return !prefix.Addr().IsLoopback() || prefix.Bits() < least
	})
}

func (l *loader) creatives(s *Snapshot) {
	s.CreativeIndex = map[string]*creatives.Creative{}
	list, problems := creatives.Compile(s.Creatives, l.read)
	for i := range problems {
		p := &problems[i]
		// Markup in the configuration begins on the line after its field.
		if n, ok := l.blocks["creatives"+p.Path]; ok && p.Line > 0 {
			p.File, p.Line = n.src.name, int(n.line)+p.Line
		}
	}
	l.Include("creatives", spec.Report{Problems: problems})
	for i := range s.Creatives {
		s.CreativeIndex[s.Creatives[i].ID] = list[i]
	}
}

func (l *loader) audiences(s *Snapshot) {
	for i := range s.Audiences {
		if strings.HasPrefix(s.Audiences[i].ID, campaigns.BuiltinPrefix) {
			l.Add(spec.At("audiences", i)+".id", spec.Quote(s.Audiences[i].ID), "an id that does not begin with "+campaigns.BuiltinPrefix)
		}
	}
	set, problems := s.compileAudiences(slices.Clone(s.Audiences))
	for i := range problems {
		if p := &problems[i]; index(p.Path) >= len(s.Audiences) {
			p.Path = "" // the built-in audience, which the file does not have, is one too many
		}
	}
	l.Include("audiences", spec.Report{Problems: problems})
	if len(problems) == 0 {
		s.AudienceSet = set
		l.ruleBytes(set)
	}
	for i := range s.Audiences {
		at := spec.At("audiences", i)
		l.events(at+".include", &s.Audiences[i].Include)
		l.events(at+".exclude", &s.Audiences[i].Exclude)
	}
}

// maxRuleBytes limits the rule of one segment, as JSON: the log stores it in one fact,
// which has at most 1 MiB.
const maxRuleBytes = 900 << 10

func (l *loader) ruleBytes(set *audiences.Set) {
	for _, r := range set.Rules() {
		if len(r) < maxRuleBytes/6 { // JSON escapes a byte in at most six
			continue
		}
		if text, err := json.Marshal(r); err != nil || len(text) > maxRuleBytes {
			l.Add("audiences", "a rule of "+spec.Bytes(len(r)).String()+" ("+spec.Quote(r)+")", "at most "+spec.Bytes(maxRuleBytes).String()+", because the log stores a rule in one fact; fewer or shorter values")
		}
	}
}

// events warns of custom events whose name is close to that of a known event
// and is probably a misspelling.
func (l *loader) events(at string, r *audiences.Rule) {
	if near := audiences.NearEvent(r.Event); near != "" {
		l.Warn(at+".event", spec.Quote(r.Event)+", which is nearly "+near, near+"; a custom event of this name counts only if the shop sends exactly this name")
	}
	for i := range r.All {
		l.events(spec.At(at+".all", i), &r.All[i])
	}
	for i := range r.Any {
		l.events(spec.At(at+".any", i), &r.Any[i])
	}
}

// index returns the number at the start of a path such as [3].include.
func index(path string) int {
	n, err := strconv.Atoi(path[min(1, len(path)):max(min(1, len(path)), strings.IndexByte(path, ']'))])
	if err != nil {
		return 0
	}
	return n
}

func (l *loader) campaigns(s *Snapshot) {
	in := campaigns.Input{Advertisers: s.Advertisers, Campaigns: s.Campaigns, Audiences: s.AudienceSet,
		Creatives: s.CreativeIndex, Feeds: s.FeedIndex, Tables: s.Tables, HasSellers: s.File.Supply.Sellers != ""}
	for i := range s.Audiences {
		in.AudienceIDs = append(in.AudienceIDs, s.Audiences[i].ID)
	}
	for i := range s.Exchanges {
		in.Exchanges = append(in.Exchanges, s.Exchanges[i].ID)
	}
	x, report := campaigns.Compile(in)
	l.Include("", report)
	s.Index = x
}
