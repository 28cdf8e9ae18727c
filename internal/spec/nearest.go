package spec

// Nearest returns the word that s was most likely meant to be, or an empty
// string if none is close. Of equally close words it returns the first.
func Nearest(s string, among []string) string {
	if len(s) > 64 {
		return ""
	}
	best, bestAt := "", 1+max(1, len(s)/3)
	for _, w := range among {
		if len(w) > 64 {
			continue
		}
		if d := editDistance(s, w); d < bestAt {
			best, bestAt = w, d
		}
	}
	return best
}

// DidYouMean returns the hint that names the nearest word, or an empty string if
// none is close.
func DidYouMean(s string, among []string) string {
	if near := Nearest(s, among); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}

// editDistance returns the minimum number of insertions, deletions, substitutions
// and transpositions of neighbours that turn a into b.
func editDistance(a, b string) int {
	var rows [3][65]int
	before, prev, cur := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			cur[j] = d
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
