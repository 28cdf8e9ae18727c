package tracking

import (
	"bytes"
	"net/netip"
	"strings"

	"rebound/events"
	"rebound/exchange"
)

// FlagCrawler marks a notice whose user agent is a program.
const FlagCrawler = "crawler"

// device is the user's device as reported by the sender of a notice (OpenRTB
// implementation guide §7.8). It is accepted only from the exchange's own networks.
type device struct {
	from      netip.Addr
	ip, agent []byte // X-Device-IP or X-Forwarded-For; X-Device-User-Agent
}

// describe sets the device's network, truncated to /24 or /48, and flags programs.
func (d *device) describe(p *exchange.Profile, n *events.Notice) {
	if p == nil || !p.BelievesDevice(d.from) {
		return
	}
	first, _, _ := bytes.Cut(d.ip, []byte{','})
	if addr, err := netip.ParseAddr(string(bytes.TrimSpace(first))); err == nil {
		n.ClientNet = network(addr.Unmap())
	}
	if isProgram(d.agent) {
		n.Flags = append(n.Flags, FlagCrawler)
	}
}

func network(a netip.Addr) string {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

func isProgram(agent []byte) bool {
	text := strings.ToLower(string(agent[:min(len(agent), 512)]))
	for _, word := range []string{"bot", "crawl", "spider", "headless", "curl/", "python-"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}
