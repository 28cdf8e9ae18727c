package pacing

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"

	"rebound/internal/view"
	"rebound/rtb"
)

// lineNameAll is the name under which the calibration of all lines is stored.
const lineNameAll = ""

// commit writes what changed since the last commit.
func (v *values) commit(b *view.Batch) error {
	for _, i := range v.weights.changed {
		w, _ := v.weights.at(i)
		value := binary.BigEndian.AppendUint64(nil, math.Float64bits(w.z))
		value = binary.BigEndian.AppendUint64(value, math.Float64bits(w.n))
		if err := b.Set(binary.BigEndian.AppendUint32([]byte{keyWeight}, i), value); err != nil {
			return err
		}
	}
	if err := v.pending.commit(b); err != nil {
		return err
	}
	for id := range v.paying {
		if err := setJSON(b, nameKey(keyReturns, id), &v.advertisers[id].returns); err != nil {
			return err
		}
	}
	if len(v.touched) == 0 {
		return nil
	}
	if err := setJSON(b, []byte{keyDelay}, &v.delays); err != nil {
		return err
	}
	if err := setJSON(b, nameKey(keyValue, lineNameAll), &v.all); err != nil {
		return err
	}
	for id := range v.touched {
		if err := setJSON(b, nameKey(keyValue, id.String()), &v.lines[id].calibrations); err != nil {
			return err
		}
		if err := setJSON(b, nameKey(keyReturns, id.String()), &v.lines[id].returns.returns); err != nil {
			return err
		}
	}
	return nil
}

// committed forgets the changes, which are on disk.
func (v *values) committed() {
	v.weights.committed()
	clear(v.touched)
	clear(v.paying)
	v.pending.committed()
}

// load reads the state from an opened view.
func (v *values) load(r view.Reader) error {
	err := each(r, keyWeight, func(k, value []byte) error {
		if len(k) != 4 || len(value) != 16 || binary.BigEndian.Uint32(k) >= 1<<valueBits {
			return unreadable("weight", k, errors.New("want 4 bytes below the size of the table, and a value of 16"))
		}
		z := math.Float64frombits(binary.BigEndian.Uint64(value))
		n := math.Float64frombits(binary.BigEndian.Uint64(value[8:]))
		if bad(z) || bad(n) || n < 0 {
			return unreadable("weight", k, errors.New("want finite numbers"))
		}
		v.weights.put(binary.BigEndian.Uint32(k), weight{z, n})
		return nil
	})
	if err != nil {
		return err
	}
	err = each(r, keyValue, func(k, value []byte) error {
		to := &v.all
		if name := string(k); name != lineNameAll {
			parts := strings.Split(name, "/")
			if len(parts) != 3 {
				return unreadable("calibration", k, errors.New("want advertiser/campaign/line"))
			}
			to = &v.line(rtb.LineID{Advertiser: parts[0], Campaign: parts[1], Line: parts[2]}).calibrations
		}
		if err := json.Unmarshal(value, to); err != nil {
			return unreadable("calibration", k, err)
		}
		if slices.ContainsFunc(to[:], func(c calibration) bool { return bad(c.Predicted) || bad(c.Observed) }) {
			return unreadable("calibration", k, errors.New("want finite numbers"))
		}
		return nil
	})
	if err == nil {
		err = errors.Join(each(r, keyReturns, v.loadReturns), each(r, keyDelay, v.loadDelays))
	}
	v.committed()
	v.publish()
	return err
}

func (v *values) loadReturns(k, value []byte) error {
	var to *returns
	switch parts := strings.Split(string(k), "/"); len(parts) {
	case 1:
		to = &v.advertiser(parts[0]).returns
	case 3:
		to = &v.line(rtb.LineID{Advertiser: parts[0], Campaign: parts[1], Line: parts[2]}).returns.returns
	default:
		return unreadable("returns", k, errors.New("want advertiser or advertiser/campaign/line"))
	}
	if err := json.Unmarshal(value, to); err != nil {
		return unreadable("returns", k, err)
	}
	return nil
}

func (v *values) loadDelays(k, value []byte) error {
	if err := json.Unmarshal(value, &v.delays); err != nil {
		return unreadable("delays", k, err)
	}
	return nil
}

func bad(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }
