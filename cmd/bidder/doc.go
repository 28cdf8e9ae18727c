// Command bidder is Rebound's bidder: it collects what visitors do, keeps their
// segments, and answers bid requests.
//
// It connects the packages and, apart from server, is the only one that reads
// the wall clock. It starts in the order keys, log, views, listeners; the bid
// listener opens only when the folds have caught up. It stops in reverse: not
// ready, in-flight work finished, bid log flushed, grants returned, views and
// log closed. Exit status 0 means success, 1 failure or a negative result of a
// check, and 2 wrong usage.
package main
