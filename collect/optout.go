package collect

import (
	"context"
	"fmt"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// optOutLife is how long the opt-out cookie is set for; browsers shorten it to 400 days
// and renew it with each opt-out.
const optOutLife = 5 * 365 * 24 * time.Hour

// optOut stores the opt-out of the visitor of a call, with all its identifiers.
func (e *Edge) optOut(c *Call) error {
	visitor, known := e.ours(c)
	if !known {
		return nil
	}
	keys, err := e.linksOf(visitor)
	if err != nil {
		return err
	}
	if err := e.keepChoice(events.KindOptOut, visitor, keys); err != nil {
		return err
	}
	e.optedOut(visitor)
	for _, k := range keys {
		e.optedOut(k.Key)
	}
	return nil
}

func (e *Edge) optIn(c *Call) error {
	visitor, known := e.ours(c)
	if !known {
		return nil
	}
	return e.keepChoice(events.KindOptIn, visitor, nil)
}

// ours returns the visitor of the cookie, if we minted it.
func (e *Edge) ours(c *Call) (rtb.Key, bool) {
	if !e.cookies.Valid(c.Cookie) {
		return rtb.Key{}, false
	}
	return e.keyring.Key(rtb.IDVisitor, "", c.Cookie), true
}

// keepChoice appends an opt-out or an opt-in.
func (e *Edge) keepChoice(kind events.Kind, visitor rtb.Key, keys []events.LinkKey) error {
	ctx, cancel := context.WithTimeout(appending, e.serverTimeout)
	defer cancel()
	now := e.now().UTC()
	id := messageID(e.keyring, string(kind), visitor.String(), fmt.Sprint(now.UnixNano()))
	return e.append(ctx, events.Fact{V: 1, ID: id, At: now, Kind: kind, Visitor: visitor, Keys: keys})
}

const (
	optOutStart = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Personalised advertising</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:3em auto;padding:0 1em}
button{font:inherit;padding:.5em 1em}</style><h1>Personalised advertising</h1>
`
	optInPage = `<p>Shops use this service to show you ads for products that you looked at. It recognises your browser by a cookie.</p>
<p>If you opt out, what is known about this browser is deleted, nothing more is collected, and no ads are bought for it.
The opt-out is a cookie too: it applies to this browser until you delete its cookies.</p>
<form method="post" action="/v1/optout"><button>Opt out</button></form>
`
	optedOutPage = `<p><strong>This browser has opted out.</strong> Nothing is collected about it, and no ads are bought for it.</p>
<button id="in">Opt in again</button>
<script>document.getElementById("in").onclick=function(){fetch("/v1/optout",{method:"DELETE",credentials:"same-origin"}).then(function(r){if(r.ok)location.reload()})}</script>
`
)
