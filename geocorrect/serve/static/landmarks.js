import { say } from "./common.js"; say("ready");
