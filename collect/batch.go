package collect

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Limits of POST /v1/events.
const (
	MaxBatchEvents = 1000
	MaxBatchBytes  = 1 << 20 // after decompression
)

// Errors of Inflate and SplitBatch.
var (
	ErrTooLarge   = errors.New("body exceeds 1 MiB")
	ErrTooMany    = errors.New("more than 1,000 events")
	ErrUnreadable = errors.New("body is not a JSON object, an array or NDJSON")
)

// Inflate decompresses a gzip body. It returns ErrTooLarge if the result exceeds
// MaxBatchBytes.
func Inflate(body []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("cannot inflate body: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(z, MaxBatchBytes+1))
	if err != nil {
		return nil, fmt.Errorf("cannot inflate body: %w", err)
	}
	if len(out) > MaxBatchBytes {
		return nil, ErrTooLarge
	}
	return out, nil
}

// SplitBatch splits a body into its events: one JSON object, an array of objects, an
// object that holds such an array as batch (Segment), data (Meta) or events, or one object
// per line. An invalid line affects only itself, an invalid array is refused as a
// whole. The events are slices of body.
func SplitBatch(body []byte) ([]json.RawMessage, error) {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return nil, fmt.Errorf("%w: it is empty", ErrUnreadable)
	case len(body) > MaxBatchBytes:
		return nil, ErrTooLarge
	case body[0] == '[':
		return splitArray(body)
	case body[0] == '{' && json.Valid(body):
		return splitEnvelope(body)
	}
	return splitLines(body)
}

// splitEnvelope returns the events of an object: those of its array if it is an envelope,
// else itself.
func splitEnvelope(body []byte) ([]json.RawMessage, error) {
	var e struct {
		Event, Type, Consent json.RawMessage
		EventName            json.RawMessage `json:"event_name"`
		Batch, Data, Events  json.RawMessage
	}
	if err := json.Unmarshal(body, &e); err != nil || e.Event != nil || e.EventName != nil || e.Type != nil {
		return []json.RawMessage{body}, nil
	}
	var list json.RawMessage
	for _, l := range []json.RawMessage{e.Batch, e.Data, e.Events} {
		switch {
		case l == nil:
		case list != nil:
			return nil, fmt.Errorf("%w: got two lists of events; want one of batch, data and events", ErrUnreadable)
		case l[0] != '[':
			return nil, fmt.Errorf("%w: want a list of events in batch, data or events", ErrUnreadable)
		default:
			list = l
		}
	}
	switch {
	case list == nil:
		return []json.RawMessage{body}, nil
	case e.Consent != nil:
		return nil, fmt.Errorf("%w: got consent for the whole list; want it in each event", ErrUnreadable)
	}
	return splitArray(list)
}

func splitArray(body []byte) ([]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUnreadable, err)
	}
	var list []json.RawMessage
	for d.More() {
		if len(list) == MaxBatchEvents {
			return nil, ErrTooMany
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, fmt.Errorf("%w: element %d: %v", ErrUnreadable, len(list), err)
		}
		list = append(list, raw)
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUnreadable, err)
	}
	if rest := bytes.TrimSpace(body[d.InputOffset():]); len(rest) > 0 {
		return nil, fmt.Errorf("%w: got text after the array", ErrUnreadable)
	}
	return list, nil
}

func splitLines(body []byte) ([]json.RawMessage, error) {
	var list []json.RawMessage
	any := false
	for line := range bytes.Lines(body) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if len(list) == MaxBatchEvents {
			return nil, ErrTooMany
		}
		any = any || line[0] == '{'
		list = append(list, line)
	}
	if !any {
		return nil, ErrUnreadable
	}
	return list, nil
}
