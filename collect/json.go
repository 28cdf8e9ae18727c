package collect

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// The types below decode JSON leniently, because tags and shops send the same value with
// different types: a text may be a number or a boolean, a list its only element, an
// amount a string. Any other mismatch rejects the event of a server; that of a browser
// loses the field, see decodeLenient.

// text decodes a string, a number or a boolean; null is empty.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	switch {
	case len(b) == 0 || string(b) == "null":
		*t = ""
	case b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*t = text(strings.TrimSpace(s))
	case b[0] == '{' || b[0] == '[':
		return errors.New("got an object or a list; want text")
	default:
		*t = text(b)
	}
	return nil
}

// texts decodes a list of texts, or a single one.
type texts []text

// UnmarshalJSON implements json.Unmarshaler.
func (t *texts) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]text)(t))
	}
	var one text
	if err := one.UnmarshalJSON(b); err != nil || one == "" {
		return err
	}
	*t = texts{one}
	return nil
}

// wireItem is one product, with the field names of GA4, Segment and Meta.
type wireItem struct {
	ID        text `json:"id"`
	ItemID    text `json:"item_id"`
	ProductID text `json:"product_id"`
	SKU       text `json:"sku"`
	Price     text `json:"price"`
	ItemPrice text `json:"item_price"`
	Quantity  text `json:"quantity"`
	Category  text `json:"category"`
	ItemCat   text `json:"item_category"`
	Brand     text `json:"brand"`
	ItemBrand text `json:"item_brand"`
}

// wireItems decodes a list of items, or a single one; an item may be just its id.
type wireItems []wireItem

// UnmarshalJSON implements json.Unmarshaler.
func (w *wireItems) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		var raw []json.RawMessage
		if err := json.Unmarshal(b, &raw); err != nil {
			return err
		}
		for i, r := range raw {
			if err := w.add(r); err != nil {
				return fmt.Errorf("items[%d]: %w", i, err)
			}
		}
		return nil
	}
	return w.add(b)
}

func (w *wireItems) add(b []byte) error {
	var it wireItem
	if len(b) > 0 && b[0] == '{' {
		if err := json.Unmarshal(b, &it); err != nil {
			return err
		}
	} else if err := it.ID.UnmarshalJSON(b); err != nil || it.ID == "" {
		return err
	}
	*w = append(*w, it)
	return nil
}

// wireTrade contains the items and amounts of an event. They are fields of the event
// itself, of properties (Segment), params (GA4) or custom_data (Meta).
type wireTrade struct {
	Items       wireItems `json:"items"`
	Products    wireItems `json:"products"`
	Contents    wireItems `json:"contents"`
	ContentIDs  wireItems `json:"content_ids"`
	ProductID   text      `json:"product_id"`
	SKU         text      `json:"sku"`
	Price       text      `json:"price"`
	Quantity    text      `json:"quantity"`
	Category    text      `json:"category"`
	Brand       text      `json:"brand"`
	Value       text      `json:"value"`
	Revenue     text      `json:"revenue"`
	Total       text      `json:"total"`
	Currency    text      `json:"currency"`
	OrderID     text      `json:"order_id"`
	Transaction text      `json:"transaction_id"`
	Q           text      `json:"q"`
	Query       text      `json:"query"`
	SearchTerm  text      `json:"search_term"`
	SearchText  text      `json:"search_string"`

	Percent      text `json:"pct"` // of a video
	VideoPercent text `json:"video_percent"`
	Millis       text `json:"ms"` // of engagement
	EngagedMsec  text `json:"engagement_time_msec"`
}

// wireUser is user, or user_data of Meta.
type wireUser struct {
	UID        text  `json:"uid"`
	XID        text  `json:"xid"`
	ExternalID texts `json:"external_id"`
	Em         texts `json:"em"`
	Ph         texts `json:"ph"`
	IFA        text  `json:"ifa"`
	MadID      text  `json:"madid"`
	UA         text  `json:"ua"`
	ClientUA   text  `json:"client_user_agent"`
	EIDs       []struct {
		Source text `json:"source"`
		ID     text `json:"id"`
		UIDs   []struct {
			ID text `json:"id"`
		} `json:"uids"` // as in OpenRTB
	} `json:"eids"`
}

type wireConsent struct {
	GDPR      text  `json:"gdpr"`
	TC        text  `json:"tc"`
	USPrivacy text  `json:"us_privacy"`
	GPP       text  `json:"gpp"`
	GPPSID    texts `json:"gpp_sid"`
	GPC       text  `json:"gpc"`
	NPA       text  `json:"npa"`
}

// wireEvent is an event from a server or a beacon.
type wireEvent struct {
	Event     text `json:"event"`
	EventName text `json:"event_name"`
	Name      text `json:"name"`
	Type      text `json:"type"` // Segment: track, page, identify

	EventID   text `json:"event_id"`
	MetaID    text `json:"eventID"`
	MessageID text `json:"messageId"`

	TS        text `json:"ts"`
	Timestamp text `json:"timestamp"`
	EventTime text `json:"event_time"`

	Advertiser text `json:"advertiser"`
	A          text `json:"a"`
	Source     text `json:"action_source"`
	URL        text `json:"url"`
	SourceURL  text `json:"event_source_url"`
	Ref        text `json:"ref"`
	Referrer   text `json:"referrer"`

	User      wireUser `json:"user"`
	UserData  wireUser `json:"user_data"`
	UserID    text     `json:"userId"`
	GAUserID  text     `json:"user_id"`
	Anonymous text     `json:"anonymousId"`

	wireTrade
	Properties wireTrade `json:"properties"`
	Params     wireTrade `json:"params"`
	CustomData wireTrade `json:"custom_data"`

	Context wireContext     `json:"context"` // Segment
	Props   map[string]text `json:"props"`
	Consent *wireConsent    `json:"consent"`
}

// wireContext is the context of an event of Segment.
type wireContext struct {
	Page struct {
		URL      text `json:"url"`
		Referrer text `json:"referrer"`
	} `json:"page"`
	UserAgent text `json:"userAgent"`
}

// decodeEvent decodes one event object.
func decodeEvent(raw []byte) (*wireEvent, *Problem) {
	var w wireEvent
	if t := bytes.TrimLeft(raw, " \t\r\n"); len(t) == 0 || t[0] != '{' {
		return nil, &Problem{RejectJSON, "got something else than a JSON object"}
	}
	if err := json.Unmarshal(raw, &w); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return nil, &Problem{RejectJSON, fmt.Sprintf("field %s: got %s, which has the wrong type", wrong.Field, wrong.Value)}
		}
		return nil, &Problem{RejectJSON, sanitize(err.Error(), maxText)}
	}
	return &w, nil
}

// first returns the first text that is not empty.
func first(list ...text) string { return string(cmp.Or(list...)) }
