package bidder

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"rebound/campaigns"
)

// skadnRequest is imp.ext.skadn (IAB Tech Lab, SKAdNetwork). Only lines that
// advertise an app read it, so the cost of encoding/json is acceptable.
type skadnRequest struct {
	Version    string   `json:"version"`
	Versions   []string `json:"versions"`
	SourceApp  any      `json:"sourceapp"`
	Networks   []string `json:"skadnetids"`
	Fidelities []any    `json:"fidelities"`
	List       struct {
		Max      int      `json:"max"`
		Excluded []int    `json:"excl"`
		Added    []string `json:"addl"`
	} `json:"skadnetlist"`
}

// skadnVersions are the versions that can be answered, the newest first, and
// whether they name the source by an identifier instead of a campaign.
var skadnVersions = []struct {
	name       string
	identifier bool
}{{"4.0", true}, {"3.0", false}, {"2.2", false}}

// skadnFidelity is one signed way of showing the ad: 0 is view-through, 1 a store
// page within the app.
type skadnFidelity struct {
	Fidelity  int    `json:"fidelity"`
	Nonce     string `json:"nonce"`
	Timestamp string `json:"timestamp"`
	Signature string `json:"signature"`
}

// skadnResponse is bid.ext.skadn.
type skadnResponse struct {
	Version          string          `json:"version"`
	Network          string          `json:"network"`
	Campaign         string          `json:"campaign,omitempty"`
	SourceIdentifier string          `json:"sourceidentifier,omitempty"`
	ITunesItem       string          `json:"itunesitem"`
	SourceApp        string          `json:"sourceapp"`
	Fidelities       []skadnFidelity `json:"fidelities"`
}

// signSKAdN returns the value of bid.ext.skadn, or nil where the request does not
// list our network, or no version of it can be answered: such a bid is an
// ordinary one.
func (d *Decision) signSKAdN(app *campaigns.App, request []byte) []byte {
	var rq skadnRequest
	s := app.SKAdN
	if json.Unmarshal(request, &rq) != nil || !slices.ContainsFunc(append(rq.Networks, rq.List.Added...), func(n string) bool { return strings.EqualFold(n, s.Network) }) {
		return nil
	}
	a := skadnResponse{Network: s.Network, ITunesItem: app.Bundle, SourceApp: textOrNumber(rq.SourceApp)}
	if rq.Version != "" {
		rq.Versions = append(rq.Versions, rq.Version)
	}
	for _, v := range skadnVersions {
		if !slices.Contains(rq.Versions, v.name) || v.identifier && s.SourceIdentifier == "" || !v.identifier && s.Campaign == "" {
			continue
		}
		if a.Version = v.name; v.identifier {
			a.SourceIdentifier = s.SourceIdentifier
		} else {
			a.Campaign = s.Campaign
		}
		break
	}
	if a.Version == "" || a.SourceApp == "" || a.sign(s.Key, d.source, d.now) != nil {
		return nil
	}
	text, err := json.Marshal(&a)
	if err != nil {
		return nil
	}
	return text
}

// textOrNumber returns a JSON string or number as text; other values are empty.
func textOrNumber(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// sign adds the view-through and the store page fidelity. Each is signed over its
// fields joined by U+2063, as Apple specifies.
func (a *skadnResponse) sign(key *ecdsa.PrivateKey, random Source, now time.Time) error {
	const sep = "\u2063"
	source := a.Campaign + a.SourceIdentifier // one of them is empty
	stamp := strconv.FormatInt(now.UnixMilli(), 10)
	for fidelity := range 2 {
		nonce := newUUID(random)
		text := strings.Join([]string{a.Version, a.Network, source, a.ITunesItem, nonce, a.SourceApp, strconv.Itoa(fidelity), stamp}, sep)
		sum := sha256.Sum256([]byte(text))
		signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil {
			return err
		}
		a.Fidelities = append(a.Fidelities, skadnFidelity{fidelity, nonce, stamp, base64.StdEncoding.EncodeToString(signature)})
	}
	return nil
}

// newUUID returns a random UUID in lower case (RFC 9562, version 4).
func newUUID(s Source) string {
	hi, lo := s.Uint64(), s.Uint64()
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(0xc<<60) | 0x8<<60
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xffff, lo>>48, lo&(1<<48-1))
}
