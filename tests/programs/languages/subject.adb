--  A task answers the main program, and a record and an array with bounds of its own are kept.
with Ada.Numerics.Discrete_Random;
with Ada.Text_IO; use Ada.Text_IO;

procedure Subject is
   type List is array (2 .. 6) of Integer;
   type Ledger is record
      Total   : Integer := 0;
      Entries : List := (others => 0);
   end record;

   subtype Number is Integer range 1 .. 1_000_000;
   package Random is new Ada.Numerics.Discrete_Random (Number);
   Generator : Random.Generator;
   Nonce     : Number;
   Book      : Ledger;
   Sum       : Integer := 0;
   Now       : Integer;

   task Adder is
      entry Add (Value : Integer; Result : out Integer);
   end Adder;

   task body Adder is
      Kept : Integer := 0;
   begin
      loop
         select
            accept Add (Value : Integer; Result : out Integer) do
               Kept := Kept + Value;
               Result := Kept;
            end Add;
         or
            terminate;
         end select;
      end loop;
   end Adder;

   function Work (Step : Integer) return Integer is
      Twice : Integer;
   begin
      Twice := Step * 2;
      Book.Entries (Step + 1) := Twice;
      Book.Total := Book.Total + Twice;
      return Book.Total;
   end Work;

begin
   Random.Reset (Generator);
   Nonce := Random.Random (Generator);
   Put_Line ("nonce" & Nonce'Image);
   for Step in 1 .. 5 loop
      Now := Work (Step);
      Adder.Add (Now, Sum);
      Put_Line ("step" & Step'Image & " total" & Now'Image & " sum" & Sum'Image);
   end loop;
   Put_Line ("nonce" & Nonce'Image & " entries" & Book.Entries'Length'Image);
end Subject;
