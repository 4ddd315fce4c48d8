// Checks the pods of Kubernetes objects by the policy "restricted" of the Pod Security Standards, with the evaluator of the
// API server:
//
//	pod-security FILE...
//
// Prints each violation, and fails if there is one.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// The fields of an object that has pods: that of a CronJob has one level more.
type object struct {
	Kind     string
	Metadata metav1.ObjectMeta
	Spec     struct {
		Template    *corev1.PodTemplateSpec
		JobTemplate struct{ Spec struct{ Template *corev1.PodTemplateSpec } }
	}
}

func main() {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		fail(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	pods, violations := 0, 0
	for _, file := range os.Args[1:] {
		content, err := os.ReadFile(file)
		if err != nil {
			fail(err)
		}
		documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
		for {
			var found object
			if err := documents.Decode(&found); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				fail(fmt.Errorf("%s: %w", file, err))
			}
			template := found.Spec.Template
			if template == nil {
				template = found.Spec.JobTemplate.Spec.Template
			}
			if template == nil {
				continue
			}
			pods++
			for _, result := range evaluator.EvaluatePod(restricted, &template.ObjectMeta, &template.Spec) {
				if !result.Allowed {
					violations++
					fmt.Printf("%s: %s %s: %s (%s)\n", file, found.Kind, found.Metadata.Name,
						result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
		}
	}
	fmt.Printf("%d templates of pods, %d violations\n", pods, violations)
	if pods == 0 || violations > 0 {
		os.Exit(1)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
