package events

import "encoding/json"

// AppendFact appends a fact as one JSON object, without a line's end.
func AppendFact(dst []byte, f *Fact) ([]byte, error) {
	b, err := json.Marshal(f)
	return append(dst, b...), err
}
