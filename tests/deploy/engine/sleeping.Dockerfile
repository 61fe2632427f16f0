ENTRYPOINT ["sleep", "infinity"]
