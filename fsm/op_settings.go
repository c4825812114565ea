package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

func (x *access) settingsGet() *fsmpb.Result {
	res := granted()
	res.Value = &fsmpb.Result_Settings{Settings: x.limits}
	return res
}

func (x *access) settingsSet(op *fsmpb.SettingsSet) *fsmpb.Result {
	x.detail = op.GetName() + "=" + op.GetValue()
	changed, err := withSetting(x.st.settings, op.GetName(), op.GetValue())
	if err != nil {
		return invalid()
	}
	x.st.settings, x.st.dirtySettings = changed, true
	res := granted()
	res.Value = &fsmpb.Result_Settings{Settings: Effective(changed)}
	return res
}
