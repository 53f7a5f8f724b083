// Package manifest reads and writes the YAML files in which operators declare resources: `kind:` and the fields of the
// proto, enums in lower case without prefix, several documents to a file.
//
// It promises to find all that is wrong with the form of a file in one pass, each with line, column and the line itself,
// to take nothing silently that it doesn't understand, to bring the findings of others back to their place in the file,
// and to write what it reads. Hostile files are bounded in size, depth and number of errors. It never opens a file.
package manifest
