// The story of `cargo stack bench --scenario story` for k6: two people register, log in, read a profile, search, become friends, open
// a room, send five messages and list them. These are 15 requests. The checks are about status codes, and nothing asserts a speed.
import { check, fail } from "k6";
import http from "k6/http";

const GATEWAY = (__ENV.GATEWAY_URL || "http://127.0.0.1:8000").replace(/\/$/, "") + "/api";
const base = (name) => (__ENV[name] || GATEWAY).replace(/\/$/, "");
const [USER, FRIEND, CHAT] = ["USER_URL", "FRIEND_URL", "CHAT_URL"].map(base);

const PASSWORD = "Test1234!@";
const CONTENT = "안녕하세요, 이것은 부하 시험입니다 👋";
const MESSAGES = 5;

export const options = {
  scenarios: {
    story: {
      executor: "constant-vus",
      vus: Number(__ENV.VUS || 100),
      duration: __ENV.DURATION || "2m",
      // A story that has begun ends.
      gracefulStop: "60s",
    },
  },
  summaryTrendStats: ["avg", "med", "p(90)", "p(95)", "p(99)", "max"],
};

// Sends a request. The tag `name` tells the kinds of requests apart. The story ends with the first request that is refused.
function request(name, method, url, status, token, body) {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const sent = body === undefined ? null : JSON.stringify(body);
  const answer = http.request(method, url, sent, { headers, tags: { name } });
  if (!check(answer, { [`${name}: ${status}`]: ({ status: answered }) => answered === status })) {
    fail(`${name}: ${answer.status} ${answer.error || answer.body}`);
  }
  return answer.json();
}

function signUp(name) {
  const random = Math.random().toString(36).slice(2, 8);
  const username = `${name}_${__VU}_${__ITER}_${random}`;
  const account = { email: `${username}@example.com`, username, password: PASSWORD, display_name: "테스트 유저" };
  const { id } = request("register", "POST", `${USER}/auth/register`, 201, null, account);
  const login = { email: account.email, password: PASSWORD };
  const { access_token: token } = request("login", "POST", `${USER}/auth/login/json`, 200, null, login);
  return { id, username, token };
}

export default function () {
  const [ann, bob] = [signUp("ann"), signUp("bob")];
  request("profile", "GET", `${USER}/profile/me`, 200, ann.token);
  request("search", "GET", `${USER}/users/search?query=${bob.username}`, 200, ann.token);
  const wish = { user_id_2: bob.id, message: "안녕하세요" };
  request("request", "POST", `${FRIEND}/friends/request`, 201, ann.token, wish);
  request("accept", "PUT", `${FRIEND}/friends/status/${ann.id}`, 200, bob.token, { action: "accept" });
  const room = request("room", "GET", `${CHAT}/chat-rooms/check/${bob.id}`, 200, ann.token);
  for (let n = 0; n < MESSAGES; n++) {
    request("send", "POST", `${CHAT}/messages/${room.id}`, 201, ann.token, { content: CONTENT });
  }
  const { messages } = request("list", "GET", `${CHAT}/messages/${room.id}?limit=50`, 200, bob.token);
  check(messages, { "list: all messages": (listed) => listed.length === MESSAGES });
}
