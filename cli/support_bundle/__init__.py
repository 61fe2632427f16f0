"""`mesh support-bundle`: what somebody needs who helps, without secrets and bounded in size."""
