//go:build !purego

package exchange

import "golang.org/x/sys/cpu"

// hasAVX2 reports whether the processor has the instructions that index_amd64.s
// uses, and the operating system keeps their registers.
var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasPCLMULQDQ && cpu.X86.HasPOPCNT

// indexBlocks indexes the first 64 bytes of text for every block.
func indexBlocks(blocks []block, text []byte, c *carry) {
	if !hasAVX2 {
		indexGeneric(blocks, text, c)
		return
	}
	if len(blocks) > 0 {
		_ = text[len(blocks)*blockBytes-1]
		indexAVX2(&blocks[0], &text[0], len(blocks), c)
	}
}

// indexAVX2 does the same as indexGeneric for n blocks, at least one.
//
//go:noescape
func indexAVX2(blocks *block, text *byte, n int, c *carry)
