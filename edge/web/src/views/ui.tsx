// The small parts that every view is made of.

import { Component, type ComponentChildren, type ComponentType, type InputHTMLAttributes, type JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { type IconName, PATHS } from "./icons.ts";

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** A button that is only an icon; its label is what a screen reader says and a mouse shows. */
export function IconButton(props: {
  icon: IconName;
  label: string;
  onClick: () => void;
  class?: string;
  keys?: string;
}): JSX.Element {
  const title = props.keys ? `${props.label} (${props.keys})` : props.label;
  return (
    <button type="button" class={`icon-button ${props.class ?? ""}`} aria-label={props.label} title={title} onClick={props.onClick}>
      <Icon name={props.icon} />
    </button>
  );
}

const segmenter = new Intl.Segmenter();

/** The first letter as people see letters: one emoji or one character is one. */
function initial(name: string): string {
  const [first] = segmenter.segment(name.trim());
  return first?.segment.toUpperCase() ?? "?";
}

/** Initials on a colour of their own. Pictures are not loaded: their servers would learn who looks. */
export function Avatar({ id, name, group, small }: { id: number; name: string; group?: boolean; small?: boolean }): JSX.Element {
  const shape = `${group ? "square" : ""} ${small ? "small" : ""}`;
  return (
    <span class={`avatar hue-${id % 8} ${shape}`} aria-hidden="true">
      {initial(name)}
    </span>
  );
}

/** A modal dialog: the browser keeps the focus inside and gives it back; Escape and the backdrop close it. */
export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren }): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    ref.current?.showModal();
  }, []);
  return (
    <dialog
      ref={ref}
      aria-labelledby="dialog-title"
      onClose={props.onClose}
      onMouseDown={(event) => event.target === ref.current && ref.current?.close()}
    >
      <div class="dialog">
        <header>
          <h2 id="dialog-title">{props.title}</h2>
          <IconButton icon="close" label="Close" keys="Esc" onClick={() => ref.current?.close()} />
        </header>
        {props.children}
      </div>
    </dialog>
  );
}

export function Field(props: InputHTMLAttributes<HTMLInputElement> & { label: string; hint?: string }): JSX.Element {
  const { label, hint, ...input } = props;
  return (
    <label class="field">
      <span>{label}</span>
      <input {...input} />
      {hint && <small>{hint}</small>}
    </label>
  );
}

/** Drawn again only when one of its properties is another; it always gets the same ones. */
export function memo<P extends object>(Inner: ComponentType<P>): ComponentType<P> {
  return class Memo extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      for (const key in next) if (next[key] !== (this.props as P)[key]) return true;
      return false;
    }

    override render(): JSX.Element {
      return <Inner {...(this.props as P)} />;
    }
  };
}
