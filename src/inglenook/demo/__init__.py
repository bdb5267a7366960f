"""The demonstration (spec/10 §1): two servers, two people, one folder that is the same on both.

It drives Inglenook from outside, by what anybody has: operator commands, mails, web pages and the HTTP API.
"""
