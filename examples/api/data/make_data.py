#!/usr/bin/env python3
"""Makes blog.json, which the example's own server serves, and what the program has to make of it:
expected.json, and partial.json where the comments are missing. Usage: make_data.py [FOLDER]"""
import json
import pathlib
import sys

NAMES = [
    "Ada Byron", "Jürgen Falk", "Inês Duarte", "Tomasz Wójcik", "Maud Green",
    "Søren Holm", "Kurtis Weiss", "Noor Haddad", "Elif Yıldız", "Paul O'Neill",
]
CITIES = [
    "London", "Linz", "Porto", "Łódź", "Leeds", "Aarhus", "Graz", "Tunis", "İzmir", "Cork",
]
POSTS = [3, 1, 0, 10, 2, 4, 25, 1, 5, 2]  # of each user
COMMENTS = [2, 4, 0, 10, 1, 3, 23, 2, 4, 1]
SUBJECTS = ["The harbour", "A night train", "My garden", "This bridge", "The old market"]
VERBS = ["keeps", "changes", "hides", "repeats", "forgets", "explains", "delays"]
OBJECTS = ["its own rules", "the \"shortest\" way home", "a story", "the weather",
           "half of it\nand more", "everything", "nothing at all", "an answer", "the winter",
           "a debt", "one question"]
REMARKS = ["I saw it too.", "Is that so?", "Please go on!", "Well put — as always.", "No.",
           "Half true.", "Where was that?"]


def sentence(n):
    return " ".join((SUBJECTS[n % 5], VERBS[n % 7], OBJECTS[n % 11]))


def make():
    users, posts, comments = [], [], []
    for number, name in enumerate(NAMES, 1):
        user = name.split()[0].lower()
        users.append({
            "id": number, "name": name, "username": user, "email": f"{user}@example.com",
            "address": {"city": CITIES[number - 1],
                        "geo": {"lat": 40.5 + number, "lng": -8.25 + number}},
            "website": None if number == 5 else f"https://example.com/{user}",
        })
    for number in range(1, len(NAMES) + 1):
        for _ in range(POSTS[number - 1]):
            n = len(posts) + 1
            posts.append({"userId": number, "id": n, "title": sentence(n),
                          "body": f"{sentence(3 * n)}. {sentence(5 * n + 1)}."})
    for number in range(1, len(NAMES) + 1):
        for _ in range(COMMENTS[number - 1]):
            n = len(comments) + 1
            comments.append({"userId": number, "id": n, "postId": 7 * n % len(posts) + 1,
                             "body": REMARKS[n % 7]})
    return {"users": users, "posts": posts, "comments": comments}


def merged(blog, number):
    own = {part: [item for item in blog[part] if item["userId"] == number]
           for part in ("posts", "comments")}
    profile = next(user for user in blog["users"] if user["id"] == number)
    return {"user": str(number), "profile": profile, **own, "missing": []}


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    folder.mkdir(parents=True, exist_ok=True)

    def write(name, content):
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")

    blog = make()
    write("blog.json", blog)
    whole = merged(blog, 7)
    write("expected.json", whole)
    url = "http://127.0.0.1:PORT/api/users/7/comments?_page=1&_limit=10"
    reason = f"GET {url}: the server answered 500"
    write("partial.json", {**whole, "comments": None,
                           "missing": [{"part": "comments", "reason": reason}]})


if __name__ == "__main__":
    main()
