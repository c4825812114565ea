// Package check finds what must not be in a history and its audit rows. Each
// checker is a function of them; none looks at another's findings.
package check
