-- One database for each service with state. Services do not share databases.
CREATE DATABASE catalog;
CREATE DATABASE inventory;
CREATE DATABASE orders;
CREATE DATABASE payments;
CREATE DATABASE legacy;
CREATE DATABASE trading;
CREATE DATABASE analytics;
CREATE DATABASE users;
CREATE DATABASE nfts;
CREATE DATABASE notifications;
