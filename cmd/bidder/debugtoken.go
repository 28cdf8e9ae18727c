package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"rebound/bidder"
	"rebound/internal/cli"
	"rebound/internal/spec"
)

// maxDebugLife is how long a debug token may be valid.
const maxDebugLife = 24 * time.Hour

// debugKey signs debug tokens. It is derived from the secret for cookies, which all nodes
// of a fleet share and which does not rotate; a token expires soon instead.
func (k *keyFile) debugKey() []byte {
	m := hmac.New(sha256.New, k.Cookies)
	m.Write([]byte("rebound debug token 1"))
	return m.Sum(nil)
}

// debugToken returns a token that permits traces until a time: its expiry in seconds since
// 1970, a dot, and 16 bytes of an HMAC-SHA-256 of the expiry.
func debugToken(key []byte, until time.Time) string {
	exp := strconv.FormatInt(until.Unix(), 10)
	m := hmac.New(sha256.New, key)
	m.Write([]byte(exp))
	return exp + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:16])
}

// debugTokenValid reports whether a token is signed with the key and valid at a time.
func debugTokenValid(key []byte, token string, now time.Time) bool {
	exp, _, ok := strings.Cut(token, ".")
	seconds, err := strconv.ParseInt(exp, 10, 64)
	if !ok || err != nil {
		return false
	}
	until := time.Unix(seconds, 0)
	return hmac.Equal([]byte(debugToken(key, until)), []byte(token)) && now.Before(until) && until.Sub(now) <= maxDebugLife
}

// debugger adds explanations to the responses of live requests; see [bidder.Debugger].
type debugger struct {
	a   *app
	key []byte
}

// Permits is part of bidder.Debugger.
func (g *debugger) Permits(token []byte, now time.Time) bool {
	return debugTokenValid(g.key, string(token), now)
}

// Explain is part of bidder.Debugger.
func (g *debugger) Explain(exchange string, now time.Time, d *bidder.Decision, rs *bidder.Response, t *bidder.Trace) []byte {
	x := g.a.explainer().Of(exchange, now, d, rs, t)
	x.Response = nil // the explanation is a part of it
	text, err := json.Marshal(x)
	if err != nil {
		g.a.log.Error("a debugged request could not be explained", zap.Error(err))
		return nil
	}
	return text
}

// debugTokenVerb prints a token for the query parameter debug of a bid request.
func (p *program) debugTokenVerb(_ context.Context, args []string) int {
	fs := p.flags("debug-token")
	data := fs.String("data", "./data", "data `folder` of the bidder, or of any node of its fleet")
	life := fs.Duration("for", 10*time.Minute, "how long the token is valid, at most 24h")
	if status, done := p.parse(fs, args); done {
		return status
	}
	if *life <= 0 || *life > maxDebugLife {
		fmt.Fprintf(p.stderr, "cannot make debug token: got --for %s; want up to %s\n", *life, spec.FormatDuration(maxDebugLife))
		return cli.ExitUsage
	}
	if _, err := os.Stat(filepath.Join(*data, "keys.json")); err != nil { // it is not created here
		fmt.Fprintf(p.stderr, "cannot make debug token: %v\n", err)
		return cli.ExitFailed
	}
	keys, err := loadKeys(*data, rand.Reader)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	fmt.Fprintln(p.stdout, debugToken(keys.debugKey(), p.now().Add(*life)))
	return cli.ExitDone
}
