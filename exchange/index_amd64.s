//go:build !purego

#include "textflag.h"

// Bytes that are compared with all bytes of a block.
DATA quotes<>+0(SB)/1, $0x22
DATA quotes<>+1(SB)/1, $0x5c // backslash
DATA quotes<>+2(SB)/1, $0x20 // also the bit in which { and [ differ, and } and ]
DATA quotes<>+3(SB)/1, $0x7b // {
DATA quotes<>+4(SB)/1, $0x7d // }
DATA quotes<>+5(SB)/1, $0x2c // comma
DATA quotes<>+6(SB)/1, $0x3a // colon
DATA quotes<>+7(SB)/1, $0x1f // the last control character
GLOBL quotes<>(SB), RODATA|NOPTR, $8

// The only white space character that ends with each half-byte; 0x80 is none.
DATA spaces<>+0(SB)/8, $0x8080808080808020
DATA spaces<>+8(SB)/8, $0x80800d80800a0980
GLOBL spaces<>(SB), RODATA|NOPTR, $16

// Offsets in block and carry (index.go).
#define QUOTE 0
#define INSIDE 8
#define OPEN 16
#define CLOSE 24
#define COMMA 32
#define COLON 40
#define SPACE 48
#define ESCAPE 56
#define HIGH 64
#define RANK 80
#define BLOCKSIZE 88

// BITS makes a word of 64 bits of the highest bits of the bytes in a and b.
#define BITS(a, b, word, scratch) \
	VPMOVMSKB a, word \
	VPMOVMSKB b, scratch \
	SHLQ $32, scratch \
	ORQ scratch, word

// EQUAL makes a word of 64 bits: the bytes of the block that are equal to a constant.
#define EQUAL(constant, word, scratch) \
	VPCMPEQB Y0, constant, Y2 \
	VPCMPEQB Y1, constant, Y3 \
	BITS(Y2, Y3, word, scratch)

// func indexAVX2(blocks *block, text *byte, n int, c *carry)
//
// Registers: DI is the block, SI its text, in Y0 and Y1, and CX the blocks left. Of
// the carry, R8 is inside, R9 escaped, R10 opens, R11 control, and Y6 high.
TEXT ·indexAVX2(SB), NOSPLIT, $0-32
	MOVQ blocks+0(FP), DI
	MOVQ text+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ c+24(FP), DX
	MOVQ 0(DX), R8
	MOVQ 8(DX), R9
	MOVQ 16(DX), R10
	MOVQ 24(DX), R11
	VPXOR Y6, Y6, Y6
	VPBROADCASTB quotes<>+0(SB), Y8
	VPBROADCASTB quotes<>+1(SB), Y9
	VPBROADCASTB quotes<>+2(SB), Y10
	VPBROADCASTB quotes<>+3(SB), Y11
	VPBROADCASTB quotes<>+4(SB), Y12
	VPBROADCASTB quotes<>+5(SB), Y13
	VPBROADCASTB quotes<>+6(SB), Y14
	VPBROADCASTB quotes<>+7(SB), Y7
	VBROADCASTI128 spaces<>(SB), Y15

next:
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	BITS(Y0, Y1, AX, BX)
	MOVQ AX, HIGH(DI)
	VPOR Y0, Y6, Y6
	VPOR Y1, Y6, Y6

	EQUAL(Y9, AX, DX)         // AX: backslashes
	EQUAL(Y8, BX, DX)         // BX: quotes, escaped ones too
	MOVQ AX, ESCAPE(DI)
	MOVQ AX, DX
	ORQ R9, DX
	JZ strings

	// As in the method escapes of index_generic.go; then DX: escaped bytes.
	MOVQ c+24(FP), R12
	MOVQ $1, 32(R12)          // slashes
	MOVQ R9, R12
	NOTQ R12
	ANDQ R12, AX              // backslashes that are not escaped by the last block
	MOVQ AX, R12
	SHLQ $1, R12
	ORQ R9, R12               // R12: follows
	MOVQ $0x5555555555555555, R13
	MOVQ R13, DX
	ORQ R12, DX
	NOTQ DX
	ANDQ AX, DX               // runs that begin at an odd bit
	XORQ R9, R9
	ADDQ AX, DX
	ADCQ $0, R9
	SHLQ $1, DX
	XORQ R13, DX
	ANDQ R12, DX
	MOVQ ESCAPE(DI), R12
	ORQ BX, R12
	NOTQ R12
	ANDQ DX, R12
	MOVQ R12, ESCAPE(DI)
	NOTQ DX
	ANDQ DX, BX

strings:
	// The parity of the quotes up to each byte is their carry-less product with all
	// ones. DX: inside; R12: outside.
	MOVQ BX, QUOTE(DI)
	VPCMPEQB X2, X2, X2
	VMOVQ BX, X3
	VPCLMULQDQ $0, X2, X3, X3
	VMOVQ X3, DX
	XORQ R8, DX
	MOVQ DX, INSIDE(DI)
	MOVQ DX, R8
	SARQ $63, R8
	MOVQ DX, R12
	NOTQ R12

	// White space: equal to the table's entry for the byte's lower half.
	VPSHUFB Y0, Y15, Y2
	VPSHUFB Y1, Y15, Y3
	VPCMPEQB Y0, Y2, Y2
	VPCMPEQB Y1, Y3, Y3
	BITS(Y2, Y3, AX, DX)
	ANDQ R12, AX
	MOVQ AX, SPACE(DI)

	// Control characters, except white space outside strings.
	VPMINUB Y0, Y7, Y2
	VPMINUB Y1, Y7, Y3
	VPCMPEQB Y0, Y2, Y2
	VPCMPEQB Y1, Y3, Y3
	BITS(Y2, Y3, BX, DX)
	NOTQ AX
	ANDQ AX, BX
	ORQ BX, R11

	EQUAL(Y13, AX, DX)
	ANDQ R12, AX
	MOVQ AX, COMMA(DI)
	EQUAL(Y14, BX, DX)
	ANDQ R12, BX
	MOVQ BX, COLON(DI)

	VPOR Y0, Y10, Y0          // [ becomes {, ] becomes }
	VPOR Y1, Y10, Y1
	EQUAL(Y11, AX, DX)
	ANDQ R12, AX
	MOVQ AX, OPEN(DI)
	EQUAL(Y12, BX, DX)
	ANDQ R12, BX
	MOVQ BX, CLOSE(DI)
	MOVQ R10, RANK(DI)
	POPCNTQ AX, AX
	ADDQ AX, R10

	ADDQ $64, SI
	ADDQ $BLOCKSIZE, DI
	DECQ CX
	JNZ next

	MOVQ c+24(FP), DX
	MOVQ R8, 0(DX)
	MOVQ R9, 8(DX)
	MOVQ R10, 16(DX)
	MOVQ R11, 24(DX)
	VPMOVMSKB Y6, AX
	ORQ AX, 40(DX)
	VZEROUPPER
	RET
