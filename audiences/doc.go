// Package audiences compiles the rule language of Rebound: from YAML rules to the
// segments that a profile must count for a visitor, and to small programs that
// decide whether a visitor is in an audience.
//
// It guarantees that
//   - every leaf of a rule becomes a segment whose id is a hash of its canonical
//     text (advertiser, event and conditions), never of its position in a file:
//     audiences share the segments that they have in common, and the rules of
//     two advertisers never share any;
//   - the canonical texts alone decide which events a segment counts
//     ([NewMatcher]), so that folding a log needs no configuration file;
//   - a [Program] is pure: profile, time and window in, [Verdict] out. It reads
//     no clock, takes no lock and does not allocate.
//
// Times have a resolution of one second. Money in conditions is decimal major
// units of the advertiser's currency. config compiles rules, segments and collect
// match events, and campaigns and bidder evaluate programs.
package audiences
