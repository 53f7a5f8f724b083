// Package expr compiles and evaluates the CEL expressions that operators write: the conditions `if` and `until` of steps
// and `expect` of probes and requests, and the `outputs` of requests.
//
// It promises that whatever can be known to be wrong is refused when the expression is compiled, with line and column
// inside the expression, and that an evaluation is bounded in cost and time however hostile the expression or the data
// is. Compiled expressions are immutable and safe for concurrent use. The package never does I/O, never reads a clock
// for a result, and gives expressions no functions beyond CEL's standard ones.
package expr
