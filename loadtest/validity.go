package loadtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// request and response hold the fields of OpenRTB that are needed to check a response.
type request struct {
	ID  string `json:"id"`
	Cur []string
	Imp []struct {
		ID       string  `json:"id"`
		BidFloor float64 `json:"bidfloor"`
		Banner   *struct {
			W, H   int
			Format []struct{ W, H int }
		} `json:"banner"`
	} `json:"imp"`
	BAdv []string `json:"badv"`
}

type response struct {
	ID      string `json:"id"`
	Cur     string `json:"cur"`
	SeatBid []struct {
		Bid []bid `json:"bid"`
	} `json:"seatbid"`
}

type bid struct {
	ID      string   `json:"id"`
	ImpID   string   `json:"impid"`
	Price   float64  `json:"price"`
	Adm     string   `json:"adm"`
	NURL    string   `json:"nurl"`
	BURL    string   `json:"burl"`
	CrID    string   `json:"crid"`
	ADomain []string `json:"adomain"`
	W, H    int
}

// CheckResponse returns what is wrong with the response to a bid request (OpenRTB 2.6
// §4.2): the id, the impression, the floor, the size, the domains, and that there is
// markup and a notice. A status of 204 needs no body.
func CheckResponse(requestBody []byte, status int, body []byte) error {
	switch {
	case status == http.StatusNoContent && len(body) == 0:
		return nil
	case status == http.StatusNoContent:
		return fmt.Errorf("a response with status 204 has a body of %d bytes", len(body))
	case status != http.StatusOK:
		return fmt.Errorf("status %d; want 200 or 204", status)
	}
	var rq request
	var rs response
	if err := json.Unmarshal(requestBody, &rq); err != nil {
		return fmt.Errorf("cannot read our own request: %w", err)
	}
	if err := json.Unmarshal(body, &rs); err != nil {
		return fmt.Errorf("the response is not JSON: %w", err)
	}
	if rs.ID != rq.ID {
		return fmt.Errorf("the response has the id %q; want %q", rs.ID, rq.ID)
	}
	seen := 0
	for _, seat := range rs.SeatBid {
		for i := range seat.Bid {
			seen++
			if err := rq.check(&seat.Bid[i]); err != nil {
				return err
			}
		}
	}
	if seen == 0 {
		return errors.New("status 200 without a bid")
	}
	return nil
}

// check returns what is wrong with one bid.
func (rq *request) check(b *bid) error {
	for i := range rq.Imp {
		imp := &rq.Imp[i]
		if imp.ID != b.ImpID {
			continue
		}
		switch {
		case b.Price < imp.BidFloor || b.Price <= 0:
			return fmt.Errorf("bid %s has the price %g; want at least the floor %g", b.ID, b.Price, imp.BidFloor)
		case b.ID == "" || b.Adm == "" || b.CrID == "" || len(b.ADomain) == 0:
			return fmt.Errorf("bid %q lacks id, adm, crid or adomain", b.ID)
		case b.NURL == "" && b.BURL == "":
			return fmt.Errorf("bid %s has neither nurl nor burl, so that nobody would learn of a win", b.ID)
		case slices.ContainsFunc(b.ADomain, func(d string) bool { return slices.Contains(rq.BAdv, d) }):
			return fmt.Errorf("bid %s has a blocked domain", b.ID)
		}
		if imp.Banner != nil && b.W != imp.Banner.W && !slices.ContainsFunc(imp.Banner.Format, func(f struct{ W, H int }) bool { return f.W == b.W && f.H == b.H }) {
			return fmt.Errorf("bid %s has the size %dx%d, which was not offered", b.ID, b.W, b.H)
		}
		return nil
	}
	return fmt.Errorf("bid %s is for the impression %q, which was not offered", b.ID, b.ImpID)
}
