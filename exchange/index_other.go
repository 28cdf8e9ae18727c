//go:build !amd64 || purego

package exchange

func indexBlocks(blocks []block, text []byte, c *carry) { indexGeneric(blocks, text, c) }
