// Package chart renders reports: line charts as SVG, and the HTML page around them.
// It guarantees that a page needs neither the network nor scripts, that the same input
// gives the same bytes, and that all text is escaped. replay and loadtest call it.
package chart
