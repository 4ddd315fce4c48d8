// The texts of the page in English and Korean, and the format of times.

const STORAGE_KEY = 'language';

const TEXTS = {
  tagline: ['A quiet place to talk.', '조용히 이야기를 나누는 공간'],
  email: ['Email', '이메일'],
  password: ['Password', '비밀번호'],
  password_hint: ['At least 8 characters, with a letter, a digit and a special character',
    '8자 이상, 영문자·숫자·특수문자를 하나 이상씩 포함'],
  username: ['Username', '사용자 이름'],
  username_hint: ['3 to 50 letters, digits, _ or -', '영문자, 숫자, _, -로 3~50자'],
  display_name: ['Display name (optional)', '표시 이름 (선택)'],
  log_in: ['Log in', '로그인'],
  log_out: ['Log out', '로그아웃'],
  sign_up: ['Sign up', '가입하기'],
  to_sign_up: ['New here? Sign up', '처음이신가요? 가입하기'],
  to_log_in: ['Already have an account? Log in', '이미 가입하셨나요? 로그인'],
  other_language: ['한국어', 'English'],
  chats: ['Chats', '채팅'],
  people: ['People', '친구'],
  no_chats: ['No chats yet. Find someone in the People tab.', '아직 채팅이 없어요. 친구 탭에서 대화할 사람을 찾아보세요.'],
  no_friends: ['No friends yet. Search for someone above.', '아직 친구가 없어요. 위에서 친구를 찾아보세요.'],
  no_results: ['No users found.', '검색 결과가 없어요.'],
  choose: ['Select a chat', '채팅을 선택하세요'],
  say_hello: ['No messages yet. Say hello!', '아직 메시지가 없어요. 먼저 인사해 보세요!'],
  find_people: ['Find people', '친구 찾기'],
  search: ['Search', '검색'],
  search_results: ['Search results', '검색 결과'],
  friends: ['Friends', '친구'],
  received: ['Friend requests', '받은 친구 요청'],
  sent: ['Sent requests', '보낸 친구 요청'],
  add_friend: ['Add friend', '친구 추가'],
  accept: ['Accept', '수락'],
  reject: ['Decline', '거절'],
  withdraw: ['Cancel request', '요청 취소'],
  chat: ['Chat', '채팅하기'],
  online: ['online', '접속 중'],
  offline: ['offline', '오프라인'],
  last_seen: ['last seen {when}', '마지막 접속 {when}'],
  new_group: ['New group', '새 그룹'],
  name: ['Group name', '그룹 이름'],
  members: ['Members', '멤버'],
  members_of: ['{n} members', '멤버 {n}명'],
  create: ['Create', '만들기'],
  cancel: ['Cancel', '취소'],
  add: ['Add', '초대'],
  add_members: ['Add friends', '친구 초대'],
  remove: ['Remove', '내보내기'],
  confirm_remove: ['Remove?', '내보낼까요?'],
  leave: ['Leave group', '그룹 나가기'],
  confirm_leave: ['Leave?', '나갈까요?'],
  you: ['You', '나'],
  back: ['Back', '뒤로'],
  pin: ['Pin chat', '채팅 고정'],
  unpin: ['Unpin chat', '채팅 고정 해제'],
  mute: ['Mute chat', '알림 끄기'],
  unmute: ['Unmute chat', '알림 켜기'],
  pinned: ['pinned', '고정됨'],
  muted: ['muted', '알림 꺼짐'],
  message: ['Message', '메시지'],
  messages: ['Messages', '메시지 목록'],
  send: ['Send', '보내기'],
  more: ['Message actions', '메시지 메뉴'],
  reply: ['Reply', '답장'],
  edit: ['Edit', '수정'],
  delete: ['Delete', '삭제'],
  confirm_delete: ['Delete?', '삭제할까요?'],
  save: ['Save', '저장'],
  edited: ['edited', '수정됨'],
  replying_to: ['Reply to {name}', '{name} 님에게 답장'],
  editing: ['Edit message', '메시지 수정'],
  earlier_message: ['Earlier message', '이전 메시지'],
  read: ['Read', '읽음'],
  read_by: ['Read by {n}', '{n}명 읽음'],
  waiting: ['Waiting to be sent', '전송 대기 중'],
  not_sent: ['Not sent', '전송 실패'],
  try_again: ['Try again', '다시 보내기'],
  discard: ['Discard', '삭제'],
  older: ['Earlier messages', '이전 메시지 보기'],
  new_messages: ['New messages', '새 메시지'],
  unread: ['{n} unread', '안 읽은 메시지 {n}개'],
  typing: ['{names} is typing…', '{names} 님이 입력 중…'],
  typing_many: ['{names} are typing…', '{names} 님이 입력 중…'],
  yesterday: ['Yesterday', '어제'],
  today: ['Today', '오늘'],
  is_offline: ['Connection lost. Reconnecting…', '연결이 끊겼어요. 다시 연결하는 중…'],
  connecting: ['Connecting…', '연결하는 중…'],
  security: ['Security', '보안'],
  second_factor: ['Two-step login', '2단계 로그인'],
  factor_is_off: ['After your password, a login also asks for a code of an authenticator app.',
    '비밀번호를 입력한 뒤 인증 앱의 코드도 입력해야 로그인할 수 있게 해요.'],
  factor_is_on: ['Two-step login is on.', '2단계 로그인을 사용하고 있어요.'],
  codes_left: ['Unused recovery codes: {n}', '남은 복구 코드: {n}개'],
  current_password: ['Current password', '현재 비밀번호'],
  code: ['Code of the app', '인증 앱의 코드'],
  mfa_code: ['Code', '인증 코드'],
  mfa_code_hint: ['The code of your authenticator app, or a recovery code', '인증 앱의 코드 또는 복구 코드'],
  set_up: ['Set up', '설정하기'],
  turn_on: ['Turn on', '사용하기'],
  turn_off: ['Turn off', '사용 안 함'],
  new_codes: ['New recovery codes', '복구 코드 다시 만들기'],
  disable_hint: ['A login will ask for your password only.', '비밀번호만으로 로그인할 수 있게 돼요.'],
  renew_hint: ['The present recovery codes become invalid.', '지금의 복구 코드는 사용할 수 없게 돼요.'],
  enter_secret: ['Add this secret to your authenticator app, then enter the code that the app shows.',
    '이 비밀 키를 인증 앱에 추가한 뒤, 앱에 표시되는 코드를 입력하세요.'],
  secret: ['Secret', '비밀 키'],
  open_app: ['Open in the app', '앱에서 열기'],
  copy: ['Copy', '복사'],
  copied: ['Copied', '복사했어요'],
  recovery_codes: ['Recovery codes', '복구 코드'],
  save_codes: ['Keep these codes in a safe place. Each replaces one code of the app. They are not shown again.',
    '이 코드를 안전한 곳에 보관하세요. 코드 하나로 인증 앱의 코드를 한 번 대신할 수 있어요. 다시 표시되지 않아요.'],
  codes_saved: ['I have saved them', '보관했어요'],
  groups: ['Groups', '그룹'],
  friends_only: ['Only friends can add me', '친구만 나를 그룹에 초대'],
  anyone_adds_me: ['Anyone can add you to a group.', '누구나 나를 그룹에 초대할 수 있어요.'],
  friends_add_me: ['Only your friends can add you to a group.', '친구만 나를 그룹에 초대할 수 있어요.'],
  session_ended: ['Your session has ended. Please log in again.', '세션이 만료되었어요. 다시 로그인해 주세요.'],
  announcement: ['{name}: {text}', '{name}: {text}'],
  account: ['Account', '계정'],
  profile: ['Profile', '프로필'],
  status_message: ['Status message', '상태 메시지'],
  saved: ['Saved', '저장했어요'],
  change_password: ['Change password', '비밀번호 변경'],
  new_password: ['New password', '새 비밀번호'],
  password_changed: ['The password was changed. Your other sessions have ended.',
    '비밀번호를 변경했어요. 다른 기기에서는 로그아웃되었어요.'],
  sessions: ['Sessions', '로그인된 기기'],
  this_session: ['this device', '현재 기기'],
  last_used: ['last used {when}', '마지막 사용 {when}'],
  end_session: ['Log out', '로그아웃하기'],
  prove_owner: ['Your login was some time ago, so confirm it with your password.',
    '로그인한 지 오래되어 비밀번호를 다시 확인해요.'],
  unknown_device: ['Unknown device', '알 수 없는 기기'],
  blocked: ['Blocked', '차단한 사용자'],
  block: ['Block', '차단'],
  confirm_block: ['Block?', '차단할까요?'],
  unblock: ['Unblock', '차단 해제'],
  unfriend: ['Unfriend', '친구 끊기'],
  confirm_unfriend: ['Unfriend?', '친구를 끊을까요?'],
  more_of: ['Actions for {name}', '{name} 님 메뉴'],
  about_user: ['About this user', '상대방 정보'],
  unknown_user: ['This profile cannot be shown.', '프로필을 볼 수 없어요.'],
  choose_two: ['Choose at least two friends. With one friend, use Chat in the People tab.',
    '친구를 두 명 이상 선택하세요. 한 명과는 친구 탭에서 채팅할 수 있어요.'],
  find_chats: ['Find chats and messages', '채팅과 메시지 찾기'],
  no_matching_chats: ['No chat has this name.', '이 이름의 채팅이 없어요.'],
  in_messages: ['In messages', '메시지에서'],
  search_here: ['Search in this chat', '이 채팅에서 검색'],
  found: ['{n} messages with “{query}”', '“{query}” 메시지 {n}개'],
  find_more: ['More results', '결과 더 보기'],
  unread_above: ['{n} unread', '안 읽은 메시지 {n}개'],
  mark_read: ['Mark as read', '모두 읽음'],
  new_below: ['New messages: {n}', '새 메시지 {n}개'],
  to_end: ['Newest messages', '최근 메시지로'],
  remaining: ['{n} left', '{n}자 남음'],
  too_long: ['{n} characters too long', '{n}자 초과'],
  too_long_by_one: ['1 character too long', '1자 초과'],
  react: ['React with {emoji}', '{emoji} 반응'],
  members_added: ['{by} added {names}', '{by} 님이 {names}을 초대했어요'],
  member_removed: ['{by} removed {names}', '{by} 님이 {names}을 내보냈어요'],
  member_left: ['{by} left', '{by} 님이 나갔어요'],
  attach_files: ['Attach files', '파일 첨부'],
  attach_pictures: ['Attach pictures', '사진 첨부'],
  drop_here: ['Drop files here to attach them', '여기에 파일을 놓으면 첨부돼요'],
  files_to_send: ['Files to send', '보낼 파일'],
  file_queued: ['Waiting', '대기 중'],
  sent_of: ['{sent} of {size}', '{size} 중 {sent}'],
  progress_of: ['Progress of {name}', '{name} 전송 진행률'],
  remove_file: ['Remove {name}', '{name} 빼기'],
  try_again_with: ['Try again: {name}', '다시 보내기: {name}'],
  sending_file: ['Sending {name}', '{name} 보내는 중'],
  sending_part: ['{name}: {percent}% sent', '{name}: {percent}% 보냈어요'],
  file_sent: ['{name} was sent', '{name} 파일을 보냈어요'],
  file_failed: ['{name} was not sent. {problem}', '{name} 파일을 보내지 못했어요. {problem}'],
  file_empty: ['This file is empty.', '빈 파일이에요.'],
  larger_than: ['Files of this type have at most {limit}.', '이 형식의 파일은 최대 {limit}까지 보낼 수 있어요.'],
  too_many_files: ['At most {n} files can wait in a chat.', '채팅마다 파일을 {n}개까지 첨부할 수 있어요.'],
  folder_refused: ['A folder cannot be sent.', '폴더는 보낼 수 없어요.'],
  picture: ['Picture', '사진'],
  file: ['File', '파일'],
  download: ['Download', '다운로드'],
  file_pending: ['being checked', '확인하는 중'],
  file_rejected: ['did not pass the check', '검사를 통과하지 못했어요'],
  original: ['Original', '원본'],
  previous_picture: ['Previous picture', '이전 사진'],
  next_picture: ['Next picture', '다음 사진'],
  close: ['Close', '닫기'],

  // Rules of fields that a request broke, by their names where the API's text is not specific.
  rule_email: ['Enter an email address, such as name@example.com.', 'name@example.com 형식의 이메일을 입력해 주세요.'],
  rule_username: ['Use 3 to 50 letters, digits, _ or -, and begin with a letter or digit.',
    '영문자나 숫자로 시작하는 3~50자의 영문자, 숫자, _, -를 사용해 주세요.'],
  rule_display_name: ['Use at most 100 characters, and no special control characters.',
    '100자 이내로, 특수 제어 문자 없이 입력해 주세요.'],
  rule_status_message: ['Use at most 500 characters.', '500자 이내로 입력해 주세요.'],
  rule_password: ['Use at least 8 characters, with a letter, a digit and a special character.',
    '영문자, 숫자, 특수문자를 하나 이상씩 포함해 8자 이상 입력해 주세요.'],
  email_taken: ['This email is already registered.', '이미 가입된 이메일이에요.'],
  username_taken: ['This username is already taken.', '이미 사용 중인 사용자 이름이에요.'],
  username_similar: ['This username looks like that of another user.', '다른 사용자의 이름과 너무 비슷해요.'],
  display_name_similar: ['This name looks like the username of another user.', '다른 사용자의 이름과 너무 비슷해요.'],
  password_letter: ['Add at least one letter.', '영문자를 하나 이상 넣어 주세요.'],
  password_digit: ['Add at least one digit.', '숫자를 하나 이상 넣어 주세요.'],
  password_special: ['Add at least one special character.', '특수문자를 하나 이상 넣어 주세요.'],
  password_common: ['This password is too easy to guess.', '너무 쉽게 추측할 수 있는 비밀번호예요.'],
  password_breached: ['This password is known from a data breach.', '유출된 적이 있는 비밀번호예요.'],

  // Errors, by the code of the response, by its status, or any other.
  BLOCKED: ['You cannot send messages to this user.', '이 사용자에게는 메시지를 보낼 수 없어요.'],
  authentication_error: ['The email or password is incorrect.', '이메일 또는 비밀번호가 올바르지 않아요.'],
  resource_conflict: ['This email or username is already taken.', '이미 사용 중인 이메일 또는 사용자 이름이에요.'],
  validation_error: ['Please check your input.', '입력한 내용을 확인해 주세요.'],
  authorization_error: ['You do not have permission to do this.', '권한이 없어요.'],
  resource_not_found: ['This no longer exists.', '더 이상 존재하지 않아요.'],
  MFA_REQUIRED: ['Enter a code to log in.', '로그인하려면 코드를 입력해 주세요.'],
  MFA_INVALID: ['The code is wrong or was used before.', '코드가 올바르지 않거나 이미 사용되었어요.'],
  MFA_UNAVAILABLE: ['Two-step login is not available here.', '이 시스템에서는 2단계 로그인을 사용할 수 없어요.'],
  FRIENDS_ONLY: ['Only friends can add one of these users to a group.', '친구만 그룹에 초대할 수 있는 사용자가 있어요.'],
  wrong_password: ['The current password is incorrect.', '현재 비밀번호가 올바르지 않아요.'],
  factor_changed: ['Two-step login was changed elsewhere.', '다른 곳에서 2단계 로그인 설정이 바뀌었어요.'],
  MESSAGE_ALREADY_DELETED: ['This message has been deleted.', '이미 삭제된 메시지예요.'],
  ATTACHMENTS_DISABLED: ['Files cannot be sent here.', '여기서는 파일을 보낼 수 없어요.'],
  FILE_TYPE_NOT_ALLOWED: ['Files of this type cannot be sent here.', '이 형식의 파일은 보낼 수 없어요.'],
  FILE_TOO_LARGE: ['This file is too large.', '파일이 너무 커요.'],
  FILE_QUOTA_EXCEEDED: ['Your files take all of your space. Deleting messages with files makes room.',
    '저장 공간이 부족해요. 파일이 있는 메시지를 삭제하면 공간이 생겨요.'],
  FILE_NOT_READY: ['This file is still being checked.', '아직 파일을 확인하는 중이에요.'],
  FILE_REJECTED: ['This file did not pass the check.', '검사를 통과하지 못한 파일이에요.'],
  UPLOAD_EXPIRED: ['The transfer took too long.', '전송이 너무 오래 걸렸어요.'],
  UPLOAD_INCOMPLETE: ['The file has not arrived completely.', '파일이 완전히 전송되지 않았어요.'],
  UPLOAD_CHANGED: ['The file has changed meanwhile.', '그동안 파일이 변경되었어요.'],
  error_0: ['The server cannot be reached. Try again in a moment.', '서버에 연결할 수 없어요. 잠시 후 다시 시도해 주세요.'],
  error_429: ['Too many requests. Try again in a moment.', '요청이 너무 많아요. 잠시 후 다시 시도해 주세요.'],
  error: ['Something went wrong. Try again in a moment.', '문제가 발생했어요. 잠시 후 다시 시도해 주세요.'],
};

let language = localStorage.getItem(STORAGE_KEY) ?? (navigator.language.startsWith('ko') ? 'ko' : 'en');
document.documentElement.lang = language;

export function switchLanguage() {
  language = language === 'ko' ? 'en' : 'ko';
  localStorage.setItem(STORAGE_KEY, language);
  document.documentElement.lang = language;
}

export function t(key, values = {}) {
  const text = TEXTS[key][language === 'ko' ? 1 : 0];
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** The text of a notice: of its key, or else of an error. */
export const noticeText = (notice) => (notice.key ? t(notice.key, notice) : errorText(notice));

export function errorText({ status = 0, code }) {
  return t([code, `error_${status}`].find((key) => Object.hasOwn(TEXTS, key)) ?? 'error');
}

/** The texts for rules that the API names in English. */
const RULES = [
  [/^Email already registered/, 'email_taken'],
  [/^Username already taken/, 'username_taken'],
  [/^Username looks like/, 'username_similar'],
  [/^Display name looks like/, 'display_name_similar'],
  [/at least one letter/, 'password_letter'],
  [/at least one digit/, 'password_digit'],
  [/at least one special/, 'password_special'],
  [/too easy to guess/, 'password_common'],
  [/data breach/, 'password_breached'],
  [/^wrong_password$/, 'wrong_password'],
];

/** What the last answer to the form `act` said about a field, or null. */
export function fieldError(errors, act, name) {
  const broken = errors?.act === act && errors.fields.find(({ field }) => field === name);
  if (!broken) return null;
  const [, key] = RULES.find(([text]) => text.test(broken.message)) ?? [];
  const general = `rule_${name.replace('new_', '')}`;
  return key ? t(key) : Object.hasOwn(TEXTS, general) ? t(general) : broken.message;
}

const SYSTEM_TEXTS = { added: 'members_added', removed: 'member_removed', left: 'member_left' };

/** Translates a system message about members. The server writes them in English. */
export function systemText(text) {
  const [, by, verb, names] = text.match(/^(\S+) (added|removed|left) ?(.*)$/) ?? [];
  if (!by || language === 'en') return text;
  const [, listed, others] = names.match(/^(.*?)(?: and (\d+) others)?$/);
  const users = listed.split(/, | and /).map((name) => `${name} 님`).join(', ');
  return t(SYSTEM_TEXTS[verb], { by, names: others ? `${users} 외 ${others}명` : users });
}

/** A format of times. The browser takes long to create one, so there is one for each language. */
const format = (options) => {
  const [en, ko] = ['en', 'ko'].map((name) => new Intl.DateTimeFormat(name, options));
  return (at) => (language === 'ko' ? ko : en).format(new Date(at));
};
const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte'];
const sizeFormats = UNITS.map((unit, at) => ['en', 'ko'].map((name) => new Intl.NumberFormat(name,
  { style: 'unit', unit, unitDisplay: at === 0 ? 'long' : 'short', maximumFractionDigits: at === 0 ? 0 : 1 })));

/** A number of bytes in the unit in which it is short. */
export function sizeText(bytes) {
  const unit = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return sizeFormats[unit][language === 'ko' ? 1 : 0].format(bytes / 1000 ** unit);
}

export const clock = format({ hour: 'numeric', minute: '2-digit' });
const date = format({ weekday: 'long', day: 'numeric', month: 'long' });
const dateOfYear = format({ day: 'numeric', month: 'long', year: 'numeric' });
const shortDate = format({ day: 'numeric', month: 'short' });

export const dayKey = (at) => new Date(at).toDateString();

/** The date of a day, or "Today" or "Yesterday". */
export function day(at) {
  const now = new Date();
  if (dayKey(at) === now.toDateString()) return t('today');
  if (dayKey(at) === new Date(now - 86_400_000).toDateString()) return t('yesterday');
  return new Date(at).getFullYear() === now.getFullYear() ? date(at) : dateOfYear(at);
}

/** A short form for lists: the time of today, otherwise the day. */
export function when(at) {
  const name = day(at);
  return name === t('today') ? clock(at) : name === t('yesterday') ? name : shortDate(at);
}
