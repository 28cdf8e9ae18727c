// Package chart draws the pictures of Rebound's reports: line charts as SVG, and
// the HTML page around them. It guarantees that a page needs no network and no
// script, that the same input gives the same bytes, and that every text is
// escaped. replay and loadtest call it.
package chart
