"""Kubernetes' Service, Ingress and IngressClass, which Istio's documents stand beside."""
