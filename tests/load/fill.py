"""Sends NUMBER messages to the first of ROOMS with the token TOKEN over 50 connections: fill.py URL."""

import http.client
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlparse

CONNECTIONS = 50
HEADERS = {"Authorization": f"Bearer {os.environ['TOKEN']}", "Content-Type": "application/json"}
host = urlparse(sys.argv[1]).netloc
path = f"/messages/{os.environ['ROOMS'].split()[0]}"


def send(number):
    connection = http.client.HTTPConnection(host)
    for n in range(number):
        connection.request("POST", path, f'{{"content": "message {n}"}}', HEADERS)
        answer = connection.getresponse()
        assert answer.status == 201, (answer.status, answer.read())
        answer.read()


each, rest = divmod(int(os.environ["NUMBER"]), CONNECTIONS)
with ThreadPoolExecutor(CONNECTIONS) as pool:
    list(pool.map(send, [each + (n < rest) for n in range(CONNECTIONS)]))
