// Reads the files of deploy/ with the code of the tools that own them:
//
//	tools kustomize DIR     builds it, reads every object strictly, prints all of it as one YAML stream
//	tools compose FILE      loads it, which checks it against the Compose Specification, prints the resolved project
//	tools dockerfile FILE   parses it and prints what its linter says
//
// What is wrong goes to standard error, with exit code 1. Nothing is fetched or started.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func main() {
	readers := map[string]func(string) (string, error){"kustomize": kustomize, "compose": compose, "dockerfile": dockerfile}
	if len(os.Args) != 3 || readers[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: tools kustomize DIR | compose FILE | dockerfile FILE")
		os.Exit(64)
	}
	text, err := readers[os.Args[1]](os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Print(text)
}

// kustomize decodes into Kubernetes' own types, so that an unknown field, a wrong type or an unknown kind is an error;
// what the API server alone checks, a field that is missing for instance, is not. Kinds of operators have no types here.
func kustomize(directory string) (string, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), directory)
	if err != nil {
		return "", err
	}
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for _, resource := range resources.Resources() {
		object, err := resource.AsYAML()
		if err != nil {
			return "", err
		}
		_, _, err = strict.Decode(object, nil, nil)
		if err != nil && !(runtime.IsNotRegisteredError(err) && resource.GetGvk().Group == "monitoring.coreos.com") {
			return "", fmt.Errorf("%s: %w", resource.CurId(), err)
		}
	}
	text, err := resources.AsYaml()
	return string(text), err
}

func compose(file string) (string, error) {
	options, err := cli.NewProjectOptions([]string{file}, cli.WithName("deploy"), cli.WithWorkingDirectory(filepath.Dir(file)))
	if err != nil {
		return "", err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return "", err
	}
	text, err := project.MarshalYAML()
	return string(text), err
}

func dockerfile(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return "", err
	}
	var warnings bytes.Buffer
	warn := func(rule, _, _, message string, at []parser.Range) {
		fmt.Fprintf(&warnings, "%s: %s (line %d)\n", rule, message, at[0].Start.Line)
	}
	_, _, err = instructions.Parse(parsed.AST, linter.New(&linter.Config{Warn: warn}))
	return warnings.String(), err
}
