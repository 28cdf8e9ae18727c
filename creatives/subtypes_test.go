package creatives

import (
	"fmt"
	"testing"
)

func TestBannerSubtypes(t *testing.T) {
	for markup, want := range map[string]string{
		`<a href="{{click}}"><img src="https://shop.example/c.png"></a>`: "[2]",
		`<A HREF="{{click}}"><IMG SRC="https://shop.example/c.png"></A>`: "[2]",
		`<a href="{{click}}">Shop</a>`:                                   "[1]",
		`<div style="background:url(https://shop.example/c.png)"></div>`: "[2]",
		`<svg viewBox="0 0 1 1"></svg>`:                                  "[2]",
		`<picture><source></picture>`:                                    "[2]",
		`<script>var u="{{click}}"</script>`:                             "[3]",
		`<SCRIPT src="https://shop.example/a.js"></SCRIPT>`:              "[3]",
		`<div onclick="location='{{click}}'">x</div>`:                    "[3]",
		`<body onload = 'a()'><img src="https://shop.example/c.png">`:    "[3]",
		`<a href="javascript:a()">x</a>`:                                 "[3]",
		`<iframe src="https://shop.example/f"></iframe>`:                 "[4]",
		`<IFRAME srcdoc="x"></IFRAME><script>a()</script>`:               "[3 4]",
		`<p>now on sale = good</p>`:                                      "[1]",
		`<p data-once="1">script, iframe</p>`:                            "[1]",
		``:                                                               "[1]",
	} {
		if got := fmt.Sprint(bannerSubtypes(markup)); got != want {
			t.Errorf("%s: got %s; want %s", markup, got, want)
		}
	}
}
