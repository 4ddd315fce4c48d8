// English and Korean.

const STORED = 'language';

const TEXTS = {
  tagline: ['A quiet place to talk.', '조용히 이야기 나누는 곳'],
  email: ['E-mail', '이메일'],
  password: ['Password', '비밀번호'],
  password_hint: ['8 characters or more, with a letter, a digit and a special character',
    '8자 이상, 영문자·숫자·특수문자를 각각 하나 이상'],
  username: ['Username', '사용자 이름'],
  username_hint: ['3 to 50 letters, digits, _ or -', '3~50자의 영문자, 숫자, _ 또는 -'],
  display_name: ['Name that others see (optional)', '표시할 이름 (선택)'],
  log_in: ['Log in', '로그인'],
  log_out: ['Log out', '로그아웃'],
  sign_up: ['Sign up', '가입하기'],
  to_sign_up: ['New here? Sign up', '처음이신가요? 가입하기'],
  to_log_in: ['Signed up already? Log in', '이미 가입하셨나요? 로그인'],
  other_language: ['한국어', 'English'],
  chats: ['Chats', '대화'],
  people: ['People', '친구'],
  no_chats: ['No conversation yet. Find someone under People.', '아직 대화가 없어요. 친구 탭에서 사람을 찾아보세요.'],
  no_friends: ['No friends yet. Search for someone above.', '아직 친구가 없어요. 위에서 사람을 찾아보세요.'],
  nobody_found: ['Nobody by that name.', '그런 이름의 사람이 없어요.'],
  choose: ['Choose a conversation', '대화를 선택하세요'],
  say_hello: ['Nothing said yet. Say hello!', '아직 메시지가 없어요. 먼저 인사해 보세요!'],
  find_people: ['Find people', '사람 찾기'],
  search: ['Search', '찾기'],
  found: ['Found', '찾은 사람'],
  friends: ['Friends', '친구'],
  received: ['Friend requests', '받은 친구 요청'],
  sent: ['Sent requests', '보낸 친구 요청'],
  add_friend: ['Add friend', '친구 추가'],
  accept: ['Accept', '수락'],
  reject: ['Decline', '거절'],
  withdraw: ['Withdraw', '취소'],
  chat: ['Chat', '대화하기'],
  online: ['online', '접속 중'],
  offline: ['offline', '오프라인'],
  last_seen: ['last seen {when}', '마지막 접속 {when}'],
  new_group: ['New group', '새 그룹'],
  name: ['Group name', '그룹 이름'],
  members: ['Members', '멤버'],
  members_of: ['{n} members', '멤버 {n}명'],
  create: ['Create', '만들기'],
  cancel: ['Cancel', '취소'],
  add: ['Add', '추가'],
  add_members: ['Add friends', '친구 초대'],
  remove: ['Remove', '내보내기'],
  leave: ['Leave group', '그룹 나가기'],
  sure: ['Really?', '정말요?'],
  you: ['You', '나'],
  back: ['Back', '뒤로'],
  message: ['Message', '메시지'],
  messages: ['Messages', '메시지 목록'],
  send: ['Send', '보내기'],
  more: ['Actions', '더 보기'],
  reply: ['Reply', '답장'],
  edit: ['Edit', '수정'],
  delete: ['Delete', '삭제'],
  save: ['Save', '저장'],
  edited: ['edited', '수정됨'],
  replying_to: ['Reply to {name}', '{name}에게 답장'],
  editing: ['Edit message', '메시지 수정'],
  reply_gone: ['earlier message', '이전 메시지'],
  read: ['Read', '읽음'],
  read_by: ['Read by {n}', '{n}명 읽음'],
  waiting: ['Waiting to be sent', '전송 대기 중'],
  not_sent: ['Not sent', '전송 실패'],
  try_again: ['Try again', '다시 보내기'],
  discard: ['Discard', '지우기'],
  older: ['Earlier messages', '이전 메시지 보기'],
  new_messages: ['New', '여기부터 새 메시지'],
  unread: ['{n} unread', '안 읽은 메시지 {n}개'],
  typing: ['{names} is typing …', '{names} 님이 입력 중 …'],
  typing_many: ['{names} are typing …', '{names} 님이 입력 중 …'],
  yesterday: ['Yesterday', '어제'],
  today: ['Today', '오늘'],
  is_offline: ['No connection. Trying again …', '연결이 끊겼어요. 다시 연결하는 중 …'],
  connecting: ['Connecting …', '연결하는 중 …'],
  session_ended: ['The session has ended. Please log in again.', '세션이 끝났어요. 다시 로그인해 주세요.'],
  says: ['{name}: {text}', '{name}: {text}'],
  left: ['{n} left', '{n}자 남음'],
  react: ['React with {emoji}', '{emoji} 반응'],
  added: ['{by} added {names}', '{by} 님이 {names} 님을 초대했어요'],
  removed: ['{by} removed {names}', '{by} 님이 {names} 님을 내보냈어요'],
  gone: ['{by} left', '{by} 님이 나갔어요'],

  // Refusals: by code of the server, by status, or whatever else.
  BLOCKED: ['This person cannot be written to.', '이 사람에게는 보낼 수 없어요.'],
  authentication_error: ['E-mail or password is wrong.', '이메일 또는 비밀번호가 맞지 않아요.'],
  resource_conflict: ['This e-mail or username is taken.', '이미 사용 중인 이메일 또는 사용자 이름이에요.'],
  validation_error: ['Please check what you entered.', '입력한 내용을 확인해 주세요.'],
  authorization_error: ['You may not do that.', '권한이 없어요.'],
  resource_not_found: ['It is not there any more.', '더 이상 존재하지 않아요.'],
  MESSAGE_ALREADY_DELETED: ['The message is deleted.', '삭제된 메시지예요.'],
  refused_0: ['The server cannot be reached. Try again in a moment.', '서버에 연결할 수 없어요. 잠시 후 다시 시도해 주세요.'],
  refused_429: ['Too many requests. Try again in a moment.', '요청이 너무 많아요. 잠시 후 다시 시도해 주세요.'],
  refused: ['That did not work. Try again in a moment.', '처리하지 못했어요. 잠시 후 다시 시도해 주세요.'],
};

let language = localStorage.getItem(STORED) ?? (navigator.language.startsWith('ko') ? 'ko' : 'en');
document.documentElement.lang = language;

export function switchLanguage() {
  language = language === 'ko' ? 'en' : 'ko';
  localStorage.setItem(STORED, language);
  document.documentElement.lang = language;
}

export function t(key, values = {}) {
  const text = TEXTS[key][language === 'ko' ? 1 : 0];
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export function refusalText({ status, code }) {
  return t([code, `refused_${status}`].find((key) => Object.hasOwn(TEXTS, key)) ?? 'refused');
}

/** What the system says of members, which it says in English. */
export function systemText(text) {
  const [, by, verb, names] = text.match(/^(\S+) (added|removed|left) ?(.*)$/) ?? [];
  if (!by || language === 'en') return text;
  const people = names.replace(/ and (\d+) others$/, ' 외 $1명').replace(' and ', ', ');
  return t(verb === 'left' ? 'gone' : verb, { by, names: people });
}

const format = (options) => (at) => new Intl.DateTimeFormat(language, options).format(new Date(at));
export const clock = format({ hour: 'numeric', minute: '2-digit' });
const date = format({ weekday: 'long', day: 'numeric', month: 'long' });
const dateOfYear = format({ day: 'numeric', month: 'long', year: 'numeric' });
const shortDate = format({ day: 'numeric', month: 'short' });

export const dayKey = (at) => new Date(at).toDateString();

/** A day as one says it. */
export function day(at) {
  const now = new Date();
  if (dayKey(at) === now.toDateString()) return t('today');
  if (dayKey(at) === new Date(now - 86_400_000).toDateString()) return t('yesterday');
  return new Date(at).getFullYear() === now.getFullYear() ? date(at) : dateOfYear(at);
}

/** As short as a list has room for. */
export function when(at) {
  const name = day(at);
  return name === t('today') ? clock(at) : name === t('yesterday') ? name : shortDate(at);
}
