package loadtest

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// SecretHeader carries the exchange's secret to the bidder.
const SecretHeader = "X-Rebound-Secret"

// ValidateURL returns an error unless the text is a URL with the scheme http or https
// and a host.
func ValidateURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return fmt.Errorf("cannot use the URL %q; want one such as http://127.0.0.1:8080/openrtb2/demo", Redact(text))
	}
	return nil
}

// OnlyLocal returns an error if the target is neither this machine nor an address of a
// private network, so that a load test cannot hit another host by mistake. Names other
// than localhost are refused, because they may resolve to anything.
func OnlyLocal(target string) error {
	if err := ValidateURL(target); err != nil {
		return err
	}
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); host == "localhost" || (ip != nil && (ip.IsLoopback() || ip.IsPrivate())) {
		return nil
	}
	return fmt.Errorf("cannot attack %s: got the host %q; want a loopback or private address, or --remote if you own the host", Redact(target), host)
}

// hidden replaces secrets in reports and messages.
const hidden = "***"

// Redact returns a target without what can be a secret: user information, path
// segments after the exchange's id, and the values of query parameters.
func Redact(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return "(invalid URL)"
	}
	if u.User != nil {
		u.User = url.User(hidden)
	}
	u.Fragment, u.RawFragment = "", ""
	if u.RawQuery != "" {
		u.RawQuery = hidden
	}
	if before, rest, ok := strings.Cut(u.Path, "/openrtb2/"); ok {
		if id, secret, more := strings.Cut(rest, "/"); more && secret != "" {
			u.Path, u.RawPath = before+"/openrtb2/"+id+"/"+hidden, ""
		}
	}
	return strings.ReplaceAll(u.String(), url.PathEscape(hidden), hidden)
}

// redactText returns a message without the attack's secret, in the header or in the URL.
func (a *Attack) redactText(text string) string {
	if text == "" {
		return text
	}
	text = strings.ReplaceAll(text, a.Target, Redact(a.Target))
	if u, err := url.Parse(a.Target); err == nil { // as errors of the HTTP client print it
		text = strings.ReplaceAll(text, u.Redacted(), Redact(a.Target))
		text = strings.ReplaceAll(text, u.String(), Redact(a.Target))
	}
	if a.Secret != "" {
		text = strings.ReplaceAll(text, a.Secret, hidden)
	}
	return text
}
