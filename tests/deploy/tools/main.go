// Reads the files of deploy/ with the code of the tools that own them:
//
//	tools kustomize DIR     builds it, reads every object strictly, prints all of it as one YAML stream
//	tools compose FILE      loads it, which checks it against the Compose Specification, prints the resolved project
//	tools dockerfile FILE   parses it and prints what its linter says
//	tools measure FILE      takes the web metric of an AnalysisTemplate, as Argo Rollouts does, prints its phase
//
// What is wrong goes to standard error, with exit code 1. Nothing is fetched or started, but
// for the address that a metric names.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/argoproj/argo-rollouts/metricproviders/webmetric"
	rollouts "github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	"github.com/compose-spec/compose-go/v2/cli"
	flagger "github.com/fluxcd/flagger/pkg/apis/flagger/v1beta1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	log "github.com/sirupsen/logrus"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

func main() {
	readers := map[string]func(string) (string, error){
		"kustomize": kustomize, "compose": compose, "dockerfile": dockerfile, "measure": measure,
	}
	if len(os.Args) != 3 || readers[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: tools kustomize DIR | compose FILE | dockerfile FILE | measure FILE")
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
// what the API server alone checks, a field that is missing for instance, is not. So are the kinds of Argo Rollouts and
// Flagger, into their own types; those of the Prometheus operator have none here.
func kustomize(directory string) (string, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), directory)
	if err != nil {
		return "", err
	}
	for _, add := range []func(*runtime.Scheme) error{rollouts.AddToScheme, flagger.AddToScheme} {
		if err := add(scheme.Scheme); err != nil {
			return "", err
		}
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

// measure expects the template's arguments to be filled in, which the controller does in a package that needs all of
// Kubernetes.
func measure(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var template rollouts.AnalysisTemplate
	if err := yaml.UnmarshalStrict(text, &template); err != nil {
		return "", err
	}
	metric := template.Spec.Metrics[0]
	client, err := webmetric.NewWebMetricHttpClient(metric)
	if err != nil {
		return "", err
	}
	jsonPath, err := webmetric.NewWebMetricJsonParser(metric)
	if err != nil {
		return "", err
	}
	log.SetOutput(os.Stderr)
	provider := webmetric.NewWebMetricProvider(*log.NewEntry(log.StandardLogger()), client, jsonPath)
	taken := provider.Run(&rollouts.AnalysisRun{}, metric)
	return fmt.Sprintln(taken.Phase, taken.Value, taken.Message), nil
}
