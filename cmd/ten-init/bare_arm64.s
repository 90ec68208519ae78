#include "textflag.h"

// func entry()
//
// The kernel jumps here with nothing but a stack. Compiled Go code wants g in
// its register and a stack limit in g: a zeroed g has the limit zero, below
// which no stack pointer ever is.
TEXT ·entry(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVD	$·g0(SB), g
	CALL	·start(SB)
	BRK	$0
