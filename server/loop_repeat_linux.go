package server

import "bytes"

// repeat remembers the head that a worker has parsed last, and whose parsed form is still
// in the worker's request. An exchange sends the same head with every request, except
// for the length of the body, and then it need not be read again.
type repeat struct {
	before, after []byte // the head around the digits of Content-Length; empty: none
	closes        bool
}

func (r *repeat) forget() { r.before, r.after = r.before[:0], r.after[:0] }

// remember takes a plain request's head. One that the listener may change while it serves
// the request is not remembered.
func (r *repeat) remember(b []byte, rq framing) {
	r.forget()
	if rq.forwarded {
		return
	}
	r.before, r.after = append(r.before, b[:rq.from]...), append(r.after, b[rq.to:rq.head]...)
	r.closes = rq.closes
}

// match returns the framing of the request at the beginning of b if its head is the one
// that was remembered and all of its body is there. limit is that of the body.
func (r *repeat) match(b []byte, limits *Limits) (rq framing, ok bool) {
	from := len(r.before)
	if from == 0 || !bytes.HasPrefix(b, r.before) {
		return rq, false
	}
	to, n := from, 0
	for ; to < len(b) && to < from+9 && b[to] >= '0' && b[to] <= '9'; to++ {
		n = 10*n + int(b[to]-'0')
	}
	if to == from || !bytes.HasPrefix(b[to:], r.after) {
		return rq, false
	}
	rq = framing{head: to + len(r.after), body: n, closes: r.closes, from: from, to: to}
	return rq, n <= limits.Body && rq.head <= limits.Header && rq.size() <= min(len(b), readBuffer)
}
