package loadtest

import (
	"bufio"
	"fmt"
	"io"
	"net/http"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// WriteTargets writes the attack's requests as targets in vegeta's JSON format, one per
// line, so that the attack can be repeated with the vegeta program. The secret, if any,
// is among the headers.
func (a *Attack) WriteTargets(w io.Writer) error {
	out := bufio.NewWriter(w)
	encode := vegeta.NewJSONTargetEncoder(out)
	for _, body := range a.Bodies {
		if err := encode.Encode(&vegeta.Target{Method: http.MethodPost, URL: a.Target, Header: a.header(), Body: body}); err != nil {
			return fmt.Errorf("cannot write targets: %w", err)
		}
		if err := out.WriteByte('\n'); err != nil {
			return fmt.Errorf("cannot write targets: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("cannot write targets: %w", err)
	}
	return nil
}
