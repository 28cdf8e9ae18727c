// Command bidder is Rebound's bidder: it collects what visitors do, keeps their
// segments, and answers bid requests.
//
// It wires the rooms together and is the only place, with server, that reads the
// wall clock. It starts in the order keys, log, views, listeners; the bid
// listener opens only when the folds have caught up. It stops in reverse: not
// ready, in-flight work finished, bid log flushed, grants returned, views and
// log closed. Exit status 0 is done, 1 that the thing asked about is not so, 2
// wrong usage.
package main
