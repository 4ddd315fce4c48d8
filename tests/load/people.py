"""Writes SQL for so many accounts as an original writes them: people.py NUMBER."""

import sys

FAMILIES = [("kim", "김"), ("lee", "이"), ("park", "박"), ("choi", "최"), ("jung", "정"), ("kang", "강"), ("yoon", "윤"), ("seo", "서")]
GIVEN = [("minjun", "민준"), ("seoyeon", "서연"), ("doyun", "도윤"), ("jiwoo", "지우"), ("hajun", "하준"), ("yuna", "유나"), ("jiho", "지호")]
BATCH = 1_000

number = int(sys.argv[1])
for first in range(0, number, BATCH):
    rows = []
    for n in range(first, min(first + BATCH, number)):
        (family, hangul), (given, sound) = FAMILIES[n % len(FAMILIES)], GIVEN[n % len(GIVEN)]
        name = f"{family}_{given}_{n}"
        rows.append(f"('{name}@example.com','-','{name}','{hangul}{sound}',0,1,NOW(),NOW())")
    print("INSERT IGNORE INTO users (email, password_hash, username, display_name, is_online, is_active, created_at, updated_at) "
          f"VALUES {','.join(rows)};")
