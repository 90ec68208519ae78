package terraform

import (
	"path"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// label is the name of a resource, which may begin with no digit.
func label(name string) string {
	if name[0] <= '9' {
		return "_" + name
	}
	return name
}

// inner is text as it stands between the quotes of a template.
func inner(s string) string {
	quoted := hclwrite.TokensForValue(cty.StringVal(s)).Bytes()
	return string(quoted[1 : len(quoted)-1])
}

// beneath is the expression for a path that is relative to the output directory.
func beneath(file string) string {
	if path.Clean(file) == "." {
		return `"${path.module}"`
	}
	return `"${path.module}/` + inner(file) + `"`
}

// text makes tokens of an expression that is written out.
func text(expression string) hclwrite.Tokens {
	return hclwrite.Tokens{{Type: hclsyntax.TokenIdent, Bytes: []byte(expression)}}
}

func raw(body *hclwrite.Body, s string) {
	body.AppendUnstructuredTokens(hclwrite.Tokens{{Type: hclsyntax.TokenComment, Bytes: []byte(s)}})
}
