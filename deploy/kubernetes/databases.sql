-- One database for each service that keeps anything; no service reads another's.
CREATE DATABASE catalog;
CREATE DATABASE inventory;
CREATE DATABASE orders;
CREATE DATABASE analytics;
