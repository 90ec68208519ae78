#include "textflag.h"

// func entry()
//
// The kernel jumps here with nothing but a stack. Compiled Go code wants g in
// R14 and at -8(FS), zero in X15, and a stack limit in g: a zeroed g has the
// limit zero, below which no stack pointer ever is.
TEXT ·entry(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	ANDQ	$~15, SP
	MOVQ	$158, AX	// arch_prctl
	MOVQ	$0x1002, DI	// ARCH_SET_FS
	LEAQ	·tls+64(SB), SI
	SYSCALL
	LEAQ	·g0(SB), R14
	MOVQ	R14, ·tls+56(SB)
	XORPS	X15, X15
	CALL	·start(SB)
	INT	$3
