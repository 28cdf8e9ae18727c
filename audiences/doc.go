// Package audiences is the rule language of Rebound: from YAML rules to what a
// profile must remember of a visitor (segments) and to small programs that say
// who is in an audience now.
//
// It guarantees that
//   - every leaf of a rule becomes a segment whose identifier is a hash of its
//     canonical text: the advertiser, the event and the conditions, never its
//     place in a file, so that audiences share what they have in common and the
//     rules of two advertisers never share anything;
//   - the canonical texts alone say which events a segment remembers
//     ([NewMatcher]), so that folding a log needs no configuration file;
//   - a [Program] is pure: profile, time and window in, [Verdict] out. It reads
//     no clock, takes no lock and does not allocate.
//
// Times are whole seconds. Money in conditions is decimal major units of the
// advertiser's currency. Config compiles rules, segments and collect match
// events, campaigns and the bidder evaluate programs.
package audiences
